"""Peak memory in bytes of a process that computes one gradient of linsim: `python -m
benchmarks.peak SAMPLES DIMENSION`.
"""

import resource
import sys

from benchmarks.run import set_up


def main() -> None:
    """Print this process's largest resident set."""
    set_up()
    from benchmarks import in_linsim, workloads

    in_linsim.one_gradient(*workloads.batch(*map(int, sys.argv[1:])))()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(used if sys.platform == "darwin" else 1024 * used)


if __name__ == "__main__":
    main()
