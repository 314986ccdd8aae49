"""The table of thresholds in the docs, from theory alone."""

from linsim.studies.losses import LossesSettings
from linsim.studies.losses.runs import chosen, run_of
from linsim.studies.losses.theory import threshold

SIZES = (32, 128, 1024)


def markdown() -> str:
    """From which noise on the noisier half of the modes vanishes, for each loss at several batch
    sizes, in the setting of the bench.
    """
    settings = LossesSettings(temperature=(0.1, 0.5))
    head = "| loss | " + " | ".join(f"N = {size}" for size in SIZES) + " |"
    lines = [head, "|---" * (len(SIZES) + 1) + "|"]
    for name in chosen(settings):
        limits = [threshold(run_of(settings, name, 1.0, size, 0.0, 1)) for size in SIZES]
        lines.append(f"| {name} | " + " | ".join(map(_told, limits)) + " |")
    return "\n".join(lines)


def _told(limit: float) -> str:
    if limit != limit:
        return "not known"
    return "never" if limit == float("inf") else "any" if limit == 0 else f"{limit:.2f}"
