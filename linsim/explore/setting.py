"""One setting of the explorer: the settings of `strong_aug` that it stands for, and the command
that trains them.
"""

from dataclasses import dataclass, replace
from typing import Any

from linsim.config import flag
from linsim.studies.strong_aug import STUDY, StrongAugSettings
from linsim.training.names import LossName, Views

STEPS = 2000
SEEDS = 32
PER_CHUNK = 8  # runs that are trained before the next picture


@dataclass(frozen=True)
class Setting:
    """What the page's controls say. noise: standard deviation on the noisy coordinates; depth: how
    many layers; data_exponent p: coordinate k has a variance proportional to k^-p; learning_rate:
    None for the loss's default.
    """

    noise: float = 2.0
    views: Views = "one"
    loss: LossName = "distance"
    batch_size: int = 128
    init_scale: float = 0.1
    noisy_dims: int = 8
    dim: int = 16
    depth: int = 1
    data_exponent: float = 0.0
    learning_rate: float | None = None

    def paced(self, factor: float) -> "Setting":
        """The setting at so many times the default learning rate of its loss."""
        if factor == 1:
            return replace(self, learning_rate=None)
        usual = replace(self, learning_rate=None).settings().rate
        return replace(self, learning_rate=float(f"{factor * usual:.4g}"))

    def given(self) -> dict[str, Any]:
        """Keyword arguments of `linsim.run("strong_aug", ...)`. Returns: only what differs from the
        study's defaults.
        """
        chosen = vars(self) | {"noise": (self.noise,), "init_scale": (self.init_scale,)}
        chosen |= {"steps": STEPS, "seeds": SEEDS, "chunk_size": PER_CHUNK}
        usual = STUDY.settings()
        return {name: value for name, value in chosen.items() if value != getattr(usual, name)}

    def settings(self, **changed: Any) -> StrongAugSettings:
        """The study's settings. Raises: BadInput, naming the control that is out of range."""
        return STUDY.settings(**self.given() | changed)

    def command(self) -> str:
        """The command that trains the same runs, to the last bit."""
        words = [
            word
            for name, value in self.given().items()
            for word in (flag(name), *map(str, value if isinstance(value, tuple) else (value,)))
        ]
        return " ".join(["linsim run strong_aug", *words])
