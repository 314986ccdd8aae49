"""How long losses and closed forms take where they are called by themselves, compiled as a whole,
as linsim has them, and operation by operation: `python benchmarks/formulas.py`.

128 samples in 16 dimensions, float32; milliseconds of the first call, which compiles, and of later
ones, of the value and of its gradient.
"""

import inspect
import time
from collections.abc import Callable
from typing import Any

from linsim.sweeps.runtime import configure_jax

LATER = 50


def milliseconds(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[float, float]:
    """Of the first call and of a later one."""
    import jax

    clock = time.perf_counter()
    found = jax.block_until_ready(function(*arguments))
    first, clock = time.perf_counter() - clock, time.perf_counter()
    for _ in range(LATER):
        found = function(*arguments)
    jax.block_until_ready(found)
    return 1e3 * first, 1e3 * (time.perf_counter() - clock) / LATER


def main() -> None:
    """Print a table."""
    configure_jax(compilation_cache=False)
    import jax
    import jax.numpy as jnp

    from linsim import losses
    from linsim.theory import infonce, population

    z, step = jax.random.normal(jax.random.key(0), (2, 128, 16))
    views, w, eye = (z, z + 0.1 * step), z[:16], jnp.eye(16)
    formulas = {
        "losses.infonce": (losses.infonce, views),
        "losses.ntxent": (losses.ntxent, views),
        "losses.barlow_twins": (losses.barlow_twins, views),
        "losses.vicreg": (losses.vicreg, views),
        "infonce.contrast_matrix": (infonce.contrast_matrix, (w, *views)),
        "population.contrast_matrix": (population.contrast_matrix, (w, eye, eye)),
    }
    print(f"{'ms':30}{'whole: first':>14}{'later':>8}{'by operations: first':>22}{'later':>8}")
    for name, (formula, arguments) in formulas.items():
        for which, of in (("", lambda f: f), (", gradient", gradient)):
            apart = milliseconds(of(inspect.unwrap(formula)), arguments)
            whole = milliseconds(of(formula), arguments)
            first, later = (f"{a:10.0f}{b:12.3f}" for a, b in (whole, apart))
            print(f"{name + which:36}{first}{later}")


def gradient(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of a formula's sum by its first argument."""
    import jax
    import jax.numpy as jnp

    return jax.grad(lambda *arguments: jnp.sum(formula(*arguments)))


if __name__ == "__main__":
    main()
