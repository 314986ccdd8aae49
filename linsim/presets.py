"""Named settings of the experiments. Rates belong to the mean loss; every flag overrides its preset."""

import dataclasses
import itertools
from pathlib import Path

from linsim.settings import DepthConfig, KindsConfig, LinearConfig, PhaseConfig, ProjectorConfig, ResnetConfig, TwoLayerConfig

_PAPER = LinearConfig(
    preset="paper",
    noise=(0.5, 1.0, 1.3, 1.7, 2.0),
    views="one",
    loss="distance",
    batches="dataset",
    init="orthogonal",
    init_scale=(0.1,),
    learning_rate=0.128,  # 1e-3 on the sum over a batch of 128
    steps=10_000,
)
ONE_LAYER = {
    "paper": _PAPER,
    "released": dataclasses.replace(
        _PAPER,
        preset="released",
        noise=(0.5, 1.5),
        views="two",
        loss="dot",
        init="uniform",
        init_scale=(3**-0.5,),  # torch.nn.Linear's default
        learning_rate=1e-3,
    ),
}

_TWO_LAYERS = TwoLayerConfig(
    preset="paper",
    noise=(0.1,),
    views="one",
    loss="distance",
    batches="dataset",
    init="spectral",
    init_scale=(1.0,),
    learning_rate=0.128,  # a tenth of the paper's 1e-2 on the sum over 128, so that gradient flow is a fair guide
    steps=10_000,
    x64=True,
)
TWO_LAYERS = {
    "paper": _TWO_LAYERS,
    "released": dataclasses.replace(_TWO_LAYERS, preset="released", noise=(0.001,), views="two", loss="dot", learning_rate=1e-2),
    "flow": dataclasses.replace(_TWO_LAYERS, preset="flow", solver="flow", noise=(0.001,), batches="fixed", learning_rate=0.1),
    "population": dataclasses.replace(_TWO_LAYERS, preset="population", solver="population", learning_rate=0.1),
    "identity": dataclasses.replace(
        _TWO_LAYERS,
        preset="identity",
        solver="population",
        noise=(1.3,),
        noise_shape="graded",
        init_scale=(0.1,),
        decay=0.05,
        learning_rate=0.4,
    ),
}

_PHASES = PhaseConfig(preset="early", steps=500, dim=4, noisy_dims=2, seeds=2)
PHASES = {
    "early": _PHASES,
    "late": dataclasses.replace(_PHASES, preset="late", steps=5000, one_layer_time=500.0, two_layer_time=50.0),
}

DEPTHS = {"weak": DepthConfig(preset="weak", steps=1000, noisy_dims=16, seeds=5)}
KINDS = {"strong": KindsConfig(preset="strong", steps=2000)}

# Noise, shift, crop, temperature, rate, blocks and width as `benchmarks/digits_settings.py` found them on other seeds.
_PROJECTORS = ProjectorConfig(preset="digits", steps=2000, seeds=5, chunk_size=1)
PROJECTORS = {
    "digits": _PROJECTORS,
    "weak": dataclasses.replace(_PROJECTORS, preset="weak", noise=0.25, shift=1, crop=1.0),
    "quick": dataclasses.replace(
        _PROJECTORS,
        preset="quick",
        projectors=("none", "nonlinear", "directclr"),
        d0_sweep=(),
        few=(20,),
        steps=300,
        seeds=3,
    ),
}

# Of a folder with train/ and test/: a reduced setting for 2 cores, and ResNet-18 for an accelerator.
RESNETS = {
    "cpu": ResnetConfig(
        preset="cpu",
        image_size=16,
        train_images=10_000,
        projectors=("none", "nonlinear", "directclr"),
        width=16,
        blocks=(1, 1, 2),
        d0=16,
        learning_rate=0.1,  # of 0.1 and 0.3, by the probe on r after 3 epochs of none and nonlinear, seed 1000
        steps=936,  # 12 epochs
    ),
    "gpu": ResnetConfig(preset="gpu", batch_size=512, learning_rate=0.2, steps=9700),  # 100 epochs of CIFAR-10
}


def for_images(argv: list[str]) -> dict[str, ProjectorConfig | ResnetConfig]:
    """The presets of `experiments/directclr.py`, the first being the default: RESNETS' where --data holds train/ or test/."""
    words = [part for word in argv for part in word.split("=", 1)]
    named = [Path(folder) for word, folder in itertools.pairwise(words) if word == "--data"]
    classed = any(each.is_dir() for folder in named for part in ("train", "test") for each in (folder / part).glob("*"))
    return {**RESNETS, **PROJECTORS} if classed else {**PROJECTORS, **RESNETS}
