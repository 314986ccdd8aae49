"""Datasets as the studies make them, put together without training, of any setting."""

from typing import Any, NamedTuple, get_args

import numpy as np
import xarray as xr

from linsim.studies.collapse_kinds.runs import OBJECTIVES
from linsim.studies.directclr.ablation import SETUPS
from linsim.studies.losses import BenchName


class Setting(NamedTuple):
    """What a figure may have to show. fate: what becomes of the runs, `none`, `diverged` (from the
    middle on) or `complete` collapse, of all values to exactly zero.
    """

    noises: int = 5
    seeds: int = 3
    dim: int = 16
    noisy_dims: int = 8
    records: int = 40
    fate: str = "none"


def _times(setting: Setting) -> np.ndarray:
    """0, and evenly on a log scale."""
    return np.concatenate([[0.0], np.geomspace(0.1, 1000.0, setting.records - 1)])


def _fated(values: np.ndarray, setting: Setting, axis: int) -> np.ndarray:
    """Values in time, with what becomes of them; `axis` is that of time."""
    values, late = np.array(values, float), [slice(None)] * np.ndim(values)
    late[axis] = slice(values.shape[axis] // 2, None)
    if setting.fate != "none":
        values[tuple(late)] = np.nan if setting.fate == "diverged" else 0.0
    return values


def _noise(setting: Setting) -> np.ndarray:
    return np.array([2.0]) if setting.noises == 1 else np.linspace(0.1, 3.0, setting.noises)


def _attrs(setting: Setting, **more: Any) -> dict[str, Any]:
    given = {"dim": setting.dim, "noisy_dims": setting.noisy_dims, "batch_size": 128}
    given |= {"loss": "distance", "views": "one", "no_theory": "", "dtype": "float32"}
    given |= {"collapse_threshold": 0.01, "batches": "dataset", "noise": 0.1, "base_noise": 0.5}
    given |= {"config": '{"init_scale": [0.1]}', "solver": "descent", "weight_decay": 0.0}
    return given | more


def strong_aug(setting: Setting, *, known: bool = True, **attrs: Any) -> xr.Dataset:
    """One layer: clean modes grow, noisy ones grow or vanish by their noise. known: whether theory
    covers it at this batch size.
    """
    time, noise = _times(setting), _noise(setting)
    rng = np.random.default_rng(0)
    rate = np.where(noise < np.sqrt(2), 0.05, -0.6 * noise)
    shape = (setting.noises, 1, setting.seeds, setting.records)
    clean = np.broadcast_to(0.1 * (1 + time) ** 0.5, shape)
    noisy = 0.1 * (1 + time) ** rate[:, None, None, None] * np.ones(shape)
    strength = np.stack([clean, noisy], axis=-1) ** 2
    split = setting.dim - setting.noisy_dims
    of_block = np.repeat([0, 1], [split, setting.noisy_dims])
    singular = np.sort(
        np.sqrt(strength[..., of_block]) * np.exp(0.1 * rng.normal(size=(*shape, setting.dim))),
        axis=-1,
    )[..., ::-1]
    present = np.array([split, setting.noisy_dims]) > 0
    strength = np.where(present, strength, np.nan)
    grid, flow = ("noise", "init_scale"), strength[:, :, 0]
    theory = flow if known else np.nan * flow
    middle = np.median(singular, axis=2) * (1.0 if known else np.nan)
    share = np.zeros((setting.noises, 1, setting.dim + 1))
    share[..., setting.noisy_dims] = 1.0
    fated, run = _fated(singular, setting, 3), (*grid, "seed", "time")
    contrast = np.ones((*shape, setting.dim))
    return xr.Dataset(
        {
            "weight_singular_values": ((*run, "mode"), fated),
            "embedding_spectrum": ((*run, "mode"), fated**2),
            "block_strength": ((*run, "block"), _fated(strength, setting, 3)),
            "contrast_eigenvalues": ((*run, "mode"), contrast),
            "alpha_ii": (run, np.full(shape, 0.5)),
            "loss": (run, _fated(np.ones(shape), setting, 3)),
            "theory_block_strength": ((*grid, "time", "block"), theory),
            "theory_level": ((*grid, "time", "block"), 0.02 + 0 * theory),
            "theory_left_out": ((*grid, "time", "block"), 0.01 + 0 * theory),
            "theory_weight_singular_values": ((*grid, "time", "mode"), middle),
            "theory_singular_value_low": ((*grid, "time", "mode"), 0.7 * middle),
            "theory_singular_value_high": ((*grid, "time", "mode"), 1.4 * middle),
            "collapsed_probability": ((*grid, "count"), share),
            "population_block_strength": ((*grid, "time", "block"), flow**1.5),
            "population_settled": (("noise", "block"), np.ones((setting.noises, 2))),
            "late_settled": (("noise", "block"), np.ones((setting.noises, 2))),
            "predicted_collapsed": (("noise",), setting.noisy_dims * (noise > np.sqrt(2)) * 1.0),
        },
        coords={
            "noise": noise,
            "init_scale": [0.1],
            "seed": range(setting.seeds),
            "time": time,
            "block": ["clean", "noisy"],
            "count": range(setting.dim + 1),
        },
        attrs=_attrs(setting, depth=1, data_exponent=0.0, **attrs),
    )


def two_layers(setting: Setting, *, known: bool = True, **attrs: Any) -> xr.Dataset:
    """Two layers: strong modes grow and align, the others stay. known: whether theory covers it."""
    time, dim, rng = _times(setting), setting.dim, np.random.default_rng(1)
    grid = (1, 1, setting.seeds, setting.records)
    start = np.exp(-0.35 * np.arange(dim))
    grown = start * (1 + start * time[:, None]) ** 0.4
    s1 = np.broadcast_to(grown, (*grid, dim)) * np.exp(
        0.05 * rng.normal(size=(1, 1, setting.seeds, 1, dim))
    )
    share = (time / (1 + time))[:, None, None]
    random = np.linalg.qr(rng.normal(size=(setting.seeds, 1, dim, dim)))[0]
    matrix = (1 - share) * random + share * np.eye(dim)
    matrix = np.broadcast_to(matrix, (*grid, dim, dim))
    groups = np.arange(dim)
    groups[1:3] = 1
    state = np.full(dim, 2)
    state[1:3], state[dim // 2 :] = 3, 0
    run, theory = ("noise", "init_scale", "seed", "time"), np.nan if not known else 1.0
    fated = _fated(s1, setting, 3)
    layers: dict[str, Any] = {
        f"{prefix}w{layer}_singular_values": ((*run, "hidden_mode"), scale * values)
        for prefix, values, scale in (
            ("", fated, 1),
            ("theory_", s1, theory),
            ("population_", s1, 1.3),
        )
        for layer in (1, 2)
    }
    spectra: dict[str, Any] = {
        f"{prefix}embedding_spectrum": ((*run, "mode"), scale * values**4)
        for prefix, values, scale in (
            ("", fated, 1),
            ("theory_", s1, theory),
            ("population_", s1, 1.3),
        )
    }
    imbalance = np.broadcast_to(0.5 + 0.1 * rng.random((setting.seeds, 1)), grid)
    bound = np.clip(np.broadcast_to(1 - 1 / (1 + time)[:, None], (*grid, dim)) - 0.3, 0, 1)
    per_mode = (*run[:3], "hidden_mode")
    wide = lambda values: np.broadcast_to(values, (*grid[:3], dim))
    return xr.Dataset(
        {
            **layers,
            **spectra,
            "alignment": ((*run, "mode_w2", "mode_w1"), _fated(matrix, setting, 3)),
            "theory_alignment": ((*run, "mode_w2", "mode_w1"), theory * matrix),
            "alignment_bound": ((*run, "hidden_mode"), bound),
            "imbalance_norm": (run, _fated(imbalance, setting, 3)),
            "identity_residual": (run, 1e-12 + 0 * imbalance),
            "mode_group": (per_mode, wide(groups)),
            "mode_state": (per_mode, wide(state)),
            "group_angle": (per_mode, wide(1.0)),
            "theorem_3": ((*run, "layer", "hidden_mode"), np.stack([s1, s1], axis=-2)),
            "escape_time": (per_mode, wide(1 / start)),
            "loss": (run, _fated(np.ones(grid), setting, 3)),
        },
        coords={
            "noise": [0.1],
            "init_scale": [1.0],
            "seed": range(setting.seeds),
            "time": time,
            "layer": [0, 1],
        },
        attrs=_attrs(setting, dtype="float64", **attrs),
    )


def depth(setting: Setting) -> xr.Dataset:
    """As many depths as the setting has noises, 8 at most; linear and ReLU layers."""
    depths, time = np.arange(1, min(setting.noises, 8) + 1), _times(setting)
    rng, dim = np.random.default_rng(2), setting.dim
    start = np.exp(-0.35 * np.arange(dim) * 2 * depths[:, None, None])
    spectrum = start * (1 + time[:, None])
    shape = (2, len(depths), setting.seeds, setting.records, dim)
    values = np.broadcast_to(spectrum[:, None], shape) * np.exp(0.1 * rng.normal(size=shape))
    values = _fated(np.sort(values, axis=-1)[..., ::-1], setting, 3)
    run = ("network", "depth", "seed", "time")
    counts = (values < 1e-4 * values.max(axis=-1, keepdims=True)).sum(axis=-1).astype(float)
    counts[np.isnan(values).any(axis=-1)] = np.nan
    counts[(values == 0).all(axis=-1)] = dim
    theory = (spectrum < 1e-4 * spectrum.max(axis=-1, keepdims=True)).sum(axis=-1).astype(float)
    return xr.Dataset(
        {
            "embedding_spectrum": ((*run, "mode"), values),
            "collapsed": (run, counts),
            "alpha_ii": (run, 0.5 + 0 * counts),
            "loss": (run, _fated(np.ones(shape[:-1]), setting, 3)),
            "theory_embedding_spectrum": (("depth", "time", "mode"), spectrum),
            "population_embedding_spectrum": (("depth", "time", "mode"), 1.5 * spectrum),
            "theory_collapsed": (("depth", "time"), theory),
            "population_collapsed": (("depth", "time"), theory),
        },
        coords={
            "network": ["linear", "relu"],
            "depth": depths,
            "seed": range(setting.seeds),
            "time": time,
        },
        attrs=_attrs(setting),
    )


def collapse_kinds(setting: Setting) -> xr.Dataset:
    """As many objectives as the setting has noises, 6 at most, each of another fate."""
    names, time = list(OBJECTIVES)[: setting.noises], _times(setting)
    rng, dim = np.random.default_rng(3), setting.dim
    rates = np.zeros((len(names), dim))
    rates[1:, dim - setting.noisy_dims :] = -4.0
    rates[2:] -= 3.0
    flow = (1 + time[:, None]) ** rates[:, None]
    shape = (len(names), setting.seeds, setting.records, dim)
    flow = np.broadcast_to(flow[:, None], shape)
    values = _fated(flow * np.exp(0.1 * rng.normal(size=shape)), setting, 2)
    scatter = rng.normal(size=(len(names), setting.seeds, 64, 4)) * np.sqrt(
        np.maximum(values[:, :, -1, [0, 0, -1, -1]], 0)
    ).reshape(len(names), setting.seeds, 1, 4)
    run = ("objective", "seed", "time")
    kind = np.broadcast_to(np.minimum(np.arange(len(names)), 2)[:, None], shape[:2])
    return xr.Dataset(
        {
            "embedding_spectrum": ((*run, "mode"), values),
            "theory_embedding_spectrum": ((*run, "mode"), flow),
            "population_embedding_spectrum": ((*run, "mode"), flow**1.1),
            "scatter": (("objective", "seed", "sample", "axis"), scatter),
            "kind": (run[:2], kind),
            "theory_kind": (run[:2], kind),
            "loss": (run, _fated(np.ones(shape[:-1]), setting, 2)),
        },
        coords={"objective": names, "seed": range(setting.seeds), "time": time},
        attrs=_attrs(setting, noise=2.5, complete=0.01, dimensional=1e-4),
    )


def phase_diagram(setting: Setting) -> xr.Dataset:
    """All four models; with two views, and where there is one noise, the count is the same all
    over.
    """
    models = ["one-view", "two-views", "two-layers", "two-layers-random"]
    noise, scale = np.linspace(0.1, 2.5, max(setting.noises, 3)), np.geomspace(0.05, 1.0, 6)
    fine_noise, fine_scale = np.linspace(0.1, 2.5, 21), np.geomspace(0.05, 1.0, 21)
    dim, split = setting.dim, setting.dim - setting.noisy_dims

    def deviation(n: np.ndarray, s: np.ndarray) -> np.ndarray:
        """(noise, scale, dim): the noisy ones fall off with the noise and grow with the scale."""
        block = np.repeat([0.0, 1.0], [split, setting.noisy_dims])
        return np.exp(-4 * (n[:, None, None] / 1.4) ** 4 * block / (1 + s[:, None])) * 1.0

    theory = np.stack([deviation(noise, scale)] * len(models))[:, :, :, None]
    theory[1] = 0.5
    if setting.noises == 1:
        theory[:] = 0.5
    shape = (*theory.shape[:3], setting.seeds, dim)
    values = np.broadcast_to(theory, shape).copy()
    if setting.fate != "none":
        values[:] = np.nan if setting.fate == "diverged" else 0.0
    counts = (values < 0.1).sum(axis=-1).astype(float)
    counts[np.isnan(values).any(axis=-1)] = np.nan
    theory = np.broadcast_to(theory, shape)
    expected = (theory < 0.1).sum(axis=-1).astype(float)
    cells = ("model", "noise", "init_scale", "seed")
    blocks = deviation(fine_noise, fine_scale)[:, :, [0, -1]]
    escape = np.full((len(models), 2, len(fine_noise)), np.nan)
    escape[2] = np.linspace(0.15, 0.9, len(fine_noise))
    return xr.Dataset(
        {
            "embedding_deviation": ((*cells, "mode"), values),
            "theory_embedding_deviation": ((*cells, "mode"), theory),
            "population_embedding_deviation": ((*cells, "mode"), 1.2 * theory),
            "collapsed": (cells, counts),
            "theory_collapsed": (cells, expected),
            "population_collapsed": (cells, expected),
            "near_boundary": (cells, 0 * expected),
            "alpha_ii": ((*cells, "time"), np.full((*shape[:4], 2), 0.5)),
            "predicted_deviation": (
                ("model", "block", "fine_noise", "fine_init_scale"),
                np.stack([np.moveaxis(blocks, -1, 0)] * len(models)),
            ),
            "escape_boundary": (("model", "block", "fine_noise"), escape),
            "end_time": (("model",), [50.0, 50.0, 10.0, 10.0]),
        },
        coords={
            "model": models,
            "noise": noise,
            "init_scale": scale,
            "seed": range(setting.seeds),
            "block": ["clean", "noisy"],
            "fine_noise": fine_noise,
            "fine_init_scale": fine_scale,
        },
        attrs=_attrs(setting, cutoff=0.1),
    )


def losses(setting: Setting) -> xr.Dataset:
    """Every loss of the bench at one setting of the other axes, all of one fate."""
    names, noise, time = list(get_args(BenchName)), _noise(setting), _times(setting)
    at = ("objective", "noise", "batch_size", "weight_decay", "depth")
    grid = (len(names), len(noise), 1, 1, 1)
    rates = np.full(setting.dim, 0.2)
    rates[setting.dim - setting.noisy_dims :] = -0.5
    flow = 0.09 * (1 + time[:, None]) ** rates
    shape = (*grid, setting.seeds, setting.records, setting.dim)
    flow = np.broadcast_to(flow, shape)
    values = flow * np.exp(0.05 * np.random.default_rng(5).normal(size=shape))
    kind = np.zeros((*grid, setting.seeds), int)
    return xr.Dataset(
        {
            "embedding_spectrum": ((*at, "seed", "time", "mode"), _fated(values, setting, -2)),
            "theory_embedding_spectrum": ((*at, "seed", "time", "mode"), flow),
            "population_embedding_spectrum": ((*at, "seed", "time", "mode"), flow**1.1),
            "kind": ((*at, "seed"), kind),
            "theory_kind": ((*at, "seed"), kind),
            "settled": ((*at, "block"), np.ones((*grid, 2))),
            "noise_threshold": (at, np.full(grid, np.inf)),
            "loss": ((*at, "seed", "time"), _fated(np.ones(shape[:-1]), setting, -1)),
        },
        coords={
            "objective": names,
            "noise": noise,
            "batch_size": [128],
            "weight_decay": [0.0],
            "depth": [1],
            "seed": range(setting.seeds),
            "time": time,
        },
        attrs=_attrs(setting, views="two"),
    )


def directclr(setting: Setting) -> xr.Dataset:
    """As many projectors as the setting has noises, of `dim` dimensions; d0 is swept if there are
    several.
    """
    names, rng = list(SETUPS)[: max(setting.noises, 1)], np.random.default_rng(4)
    dim, seeds, labels = setting.dim, setting.seeds, ["all", "5", "20"]
    d0 = max(dim // 2, 1)
    accuracy = np.clip(0.9 + 0.02 * rng.normal(size=(len(names), seeds, 4, 3)), 0, 1)
    spectrum = np.exp(-0.2 * np.arange(dim)) * np.exp(
        0.1 * rng.normal(size=(len(names), seeds, dim))
    )
    gradient = np.stack([spectrum, spectrum], axis=2)
    gradient[:, :, 0, d0:] = 0.0
    rank = 3 + rng.random((len(names), seeds))
    spectrum = _fated(spectrum[..., None, :], setting, 2)[..., 0, :]
    if setting.fate == "diverged":
        accuracy[:], gradient[:], rank[:] = 0.1, np.nan, np.nan
    if setting.fate == "complete":
        gradient[:], rank[:] = 0.0, 1.0
    held = ("projector", "seed")
    arrays: dict[str, Any] = {
        "probe_accuracy": ((*held, "feature", "labels"), accuracy),
        "representation_spectrum": ((*held, "mode"), spectrum),
        "representation_rankme": (held, rank),
        "representation_rank": (held, rank),
        "gradient_spectrum": ((*held, "place", "mode"), gradient),
        "collapsed": (held, (spectrum < 1e-4 * spectrum.max(axis=-1, keepdims=True)).sum(-1) * 1.0),
        "raw_accuracy": (("seed", "labels"), np.full((seeds, 3), 0.85)),
    }
    coords: dict[str, Any] = {
        "projector": names,
        "seed": range(seeds),
        "feature": ["r", "r[:d0]", "r[d0:]", "h"],
        "labels": labels,
        "place": ["representation", "behind the last block"],
    }
    if setting.noises > 1:
        swept = np.clip(0.8 + 0.02 * rng.normal(size=(3, seeds, 3)), 0, 1)
        arrays["sweep_probe_accuracy"] = (("d0", "seed", "labels"), swept)
        coords["d0"] = sorted({0, 4, 2 * dim + 4})
    asked = {"data": "digits", "temperature": 0.1, "steps": 20, "blocks": 3, "preset": "digits"}
    return xr.Dataset(arrays, coords=coords, attrs=_attrs(setting, d0=d0, **asked))
