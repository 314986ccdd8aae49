"""Figures from saved results: Dataset in, Figure out. Nothing is computed here but what drawing needs.

Colour follows the sweep (cividis, dark to light, with one marker each so that no figure needs colour); measured values
are solid lines with markers, the population theory is dashed, the condensed regime dotted.
"""

import io
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from linsim import results
from linsim.spectra import kinds_found

plt.style.use(Path(__file__).with_name("linsim.mplstyle"))

MARKERS = "osD^vP*X<>"
BLOCK_COLOURS = ("#00204d", "#b3a24a")
POPULATION = {"linestyle": "--", "linewidth": 1.0, "marker": ""}
CONDENSED = {"linestyle": ":", "linewidth": 1.8, "marker": ""}


def save(figure: Figure, path: Path) -> Path:
    """Write the figure atomically (`results.write`); the format follows the suffix. Returns: path."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    figure.savefig(buffer, format=path.suffix.removeprefix("."), metadata=metadata)
    plt.close(figure)
    return results.write(buffer.getbuffer(), path)


def strong_augmentation(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 3 with both theories: (a) weight spectrum, (b) its evolution, (c) embedding spectrum.

    Args: dataset of `experiments/strong_aug.py`; the first init_scale is drawn. Returns: Figure.
    """
    dataset = dataset.isel(init_scale=0)
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.1), width_ratios=(1, 1.15, 1))
    end = dataset.isel(time=-1)
    _final_spectra(axes[0], end, "weight_singular_values", "singular value of W")
    _final_spectra(axes[2], end, "embedding_spectrum", "eigenvalue of embedding covariance")
    _condensed_spectrum(axes[0], end)
    axes[0].set_title(f"(a) weights at t = {float(end['time']):.4g}")
    axes[2].set_title("(c) embeddings")
    axes[2].legend(title="noise", handles=_noise_handles(dataset), loc="lower left")
    _evolution(axes[1], dataset.isel(noise=_shown_noise(dataset)))
    axes[0].legend(handles=_style_handles(dataset), loc="lower left")
    return figure


def alignment(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 5: |A| at start, midway and at the end; |A_kk| with its bound, and the conserved C, in time.

    Args: dataset of `experiments/alignment.py`; the first noise, init_scale and seed are drawn. Returns: Figure.
    """
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    figure = plt.figure(figsize=(7.4, 5.4))
    top, bottom = (figure.add_subfigure(rows) for rows in figure.add_gridspec(2, 1, height_ratios=(1.0, 1.05)))
    maps = top.subplots(1, 3)
    middle = int(np.searchsorted(run["time"].values, np.sqrt(run["time"].values[1] * run["time"].values[-1])))
    for axis, record in zip(maps, (0, middle, -1), strict=True):
        image = axis.imshow(np.abs(run["alignment"].values[record]), vmin=0, vmax=1)
        axis.set(title=f"|A| at t = {float(run['time'][record]):.4g}", xlabel="mode of W1")
        ticks = np.arange(3, run.sizes["mode_w1"], 4)
        axis.set(xticks=ticks, xticklabels=ticks + 1, yticks=ticks, yticklabels=ticks + 1)
    maps[0].set_ylabel("mode of W2")
    _outline_groups(maps[-1], run["mode_group"].values)
    top.colorbar(image, ax=maps, shrink=0.8)
    curves = bottom.subplots(1, 2, width_ratios=(1.6, 1))
    _diagonal_in_time(curves[0], run)
    _imbalance_in_time(curves[1], run)
    return figure


def _outline_groups(axis: Axes, groups: np.ndarray) -> None:
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) > 1:
            corner, size = members[0] - 0.5, len(members)
            axis.add_patch(Rectangle((corner, corner), size, size, fill=False, edgecolor="white", linewidth=1.6))


def _diagonal_in_time(axis: Axes, run: xr.Dataset) -> None:
    time = run["time"].values[1:]
    diagonal = np.abs(np.diagonal(run["alignment"].values, axis1=1, axis2=2))[1:]
    bound = run["alignment_bound"].values[1:]
    grown = run["mode_state"].values > 0
    axis.plot(time, diagonal[:, ~grown], color="0.8", linewidth=0.6)
    shown = np.flatnonzero(grown)[:6]
    for mode, shade in zip(shown, np.linspace(0, 0.85, len(shown)), strict=True):
        colour = plt.get_cmap("cividis")(shade)
        axis.plot(time, diagonal[:, mode], color=colour, marker=MARKERS[mode], markevery=8, label=f"mode {mode + 1}")
        axis.plot(time, np.where(bound[:, mode] > 0, bound[:, mode], np.nan), color=colour, **POPULATION)
    handles, labels = axis.get_legend_handles_labels()
    handles, labels = [*handles, Line2D([], [], color="0.2", **POPULATION)], [*labels, "bound"]
    if not grown.all():
        handles, labels = [*handles, Line2D([], [], color="0.8", linewidth=0.6)], [*labels, "not grown"]
    axis.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axis.set(xscale="log", xlabel="time t", ylabel="|A_kk|", ylim=(0, 1.02), title="diagonal of A and its lower bound")


def _imbalance_in_time(axis: Axes, run: xr.Dataset) -> None:
    axis.plot(run["time"].values[1:], run["imbalance_norm"].values[1:], color="0.2")
    axis.set(xscale="log", xlabel="time t", ylabel="norm of C", title="conserved imbalance")
    axis.set_ylim(0, 1.25 * float(run["imbalance_norm"].max()))


def singular_values(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 6 a-c: singular values of W1, W2 and of the embedding covariance in time, log scale.

    Solid: simulation; dotted: Theorem 3 integrated with the measured pull; dashed: population flow; ticks: escape times.
    Args: dataset of `experiments/singular_values.py`; the first noise, init_scale and seed are drawn. Returns: Figure.
    """
    run = dataset.isel(noise=0, init_scale=0, seed=0)
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5))
    panels = (("w1_singular_values", 0), ("w2_singular_values", 1), ("embedding_spectrum", None))
    titles = ("(a) singular values of W1", "(b) singular values of W2", "(c) embedding covariance")
    time = run["time"].values[1:]
    for axis, (name, layer), title in zip(axes, panels, titles, strict=True):
        count = run[name].shape[-1]
        for mode, shade in enumerate(np.linspace(0, 0.85, count)):
            colour = plt.get_cmap("cividis")(shade)
            axis.plot(time, run[name].values[1:, mode], color=colour, linewidth=1.0)
            axis.plot(time, run[f"population_{name}"].values[1:, mode], color=colour, linestyle="--", linewidth=0.6)
            if mode < run.sizes["hidden_mode"]:
                theorem = run["theorem_3"].values[1:, :, mode]
                values = theorem[:, layer] if layer is not None else np.prod(theorem, axis=1) ** 2
                axis.plot(time, values, color=colour, linestyle=":", linewidth=1.2)
        escapes = run["escape_time"].values
        axis.plot(escapes[escapes < time[-1]], np.zeros(np.sum(escapes < time[-1])), "|", color="0.2", markersize=8,
                  transform=axis.get_xaxis_transform(), clip_on=False)  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel="time t", title=title)
        axis.set_ylim(_floor(run[name].values[-1]), 4 * float(run[name].max()))
    handles = [
        Line2D([], [], color="0.2", label="simulation"),
        Line2D([], [], color="0.2", linestyle=":", label="Theorem 3"),
        Line2D([], [], color="0.2", linestyle="--", linewidth=0.6, label="population"),
        Line2D([], [], color="0.2", linestyle="", marker="|", markersize=8, label="escape times"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def depth(dataset: xr.Dataset) -> Figure:
    """The paper's Figure 11: embedding spectrum by depth, linear and ReLU; and collapsed dimensions in time.

    Bands: range over seeds; dashed: the balanced population flow at the same time. Args: dataset of `experiments/depth.py`.
    """
    networks = dataset["network"].values
    figure, axes = plt.subplots(1, len(networks) + 1, figsize=(3.2 * len(networks) + 3.2, 3.3))
    end = dataset.isel(time=-1)
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    shades = dict(zip(dataset["depth"].values, np.linspace(0, 0.85, dataset.sizes["depth"]), strict=True))
    for axis, network, letter in zip(axes, networks, "ab", strict=False):
        for layers, marker in zip(dataset["depth"].values, MARKERS, strict=False):
            spectrum = end["embedding_spectrum"].sel(network=network, depth=layers)
            colour = plt.get_cmap("cividis")(shades[layers])
            axis.fill_between(rank, spectrum.min("seed"), spectrum.max("seed"), color=colour, alpha=0.25, linewidth=0)
            axis.plot(rank, spectrum.median("seed"), color=colour, marker=marker, label=f"{layers}")
            if network == "linear":
                axis.plot(rank, end["population_embedding_spectrum"].sel(depth=layers), color=colour, **POPULATION)
        axis.set(yscale="log", xlabel="rank", title=f"({letter}) {'ReLU' if network == 'relu' else network} layers")
        axis.set_ylim(1e-11, 5 * float(end["embedding_spectrum"].max()))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("eigenvalue of embedding covariance")
    axes[0].legend(title="layers", loc="lower left")
    for layers, marker in zip(dataset["depth"].values, MARKERS, strict=False):
        colour = plt.get_cmap("cividis")(shades[layers])
        one = dataset.sel(depth=layers).isel(time=slice(1, None))
        for network, line in zip(networks, ("-", ":"), strict=False):
            counts = one["collapsed"].sel(network=network).mean("seed")
            axes[-1].plot(one["time"], counts, color=colour, linestyle=line, marker=marker, markevery=10)
        axes[-1].plot(one["time"], one["predicted_collapsed"], color=colour, **POPULATION)
    styles = [Line2D([], [], color="0.2", linestyle=s, label=n) for n, s in zip(networks, ("-", ":"), strict=False)]
    axes[-1].legend(handles=[*styles, Line2D([], [], color="0.2", label="population (linear)", **POPULATION)], loc="upper left")
    axes[-1].set(xscale="log", xlabel="time t", ylabel="collapsed dimensions", title="(c) in time")
    axes[-1].set_ylim(-0.5, 1.4 * dataset.sizes["mode"])
    return figure


def kinds(dataset: xr.Dataset) -> Figure:
    """The paper's Figures 1 and 2, one row per objective: scatter (two leading, two trailing directions), spectrum, evolution.

    Dashed: population flow. Args: dataset of `experiments/collapse_kinds.py`; scatter of the first seed. Returns: Figure.
    """
    count = dataset.sizes["objective"]
    figure, axes = plt.subplots(count, 3, figsize=(7.4, 1.45 * count + 0.6), squeeze=False, width_ratios=(1, 1.2, 1.3))
    rank = np.arange(1, dataset.sizes["mode"] + 1)
    limit = 1.1 * float(np.abs(dataset["scatter"].isel(seed=0)).max())
    for row, objective in zip(axes, dataset["objective"].values, strict=True):
        one = dataset.sel(objective=objective)
        scatter = one["scatter"].isel(seed=0).values
        row[0].scatter(scatter[:, 0], scatter[:, 1], s=4, color=BLOCK_COLOURS[0], marker="o")
        row[0].scatter(scatter[:, 2], scatter[:, 3], s=4, color=BLOCK_COLOURS[1], marker="^")
        row[0].set(xlim=(-limit, limit), ylim=(-limit, limit))
        kind = kinds_found(one["kind"].values)
        row[0].set_title(f"{objective}: {kind} collapse" if kind != "none" else f"{objective}: no collapse")
        spectrum, flow = one["embedding_spectrum"], one["population_embedding_spectrum"].median("seed")
        end = spectrum.isel(time=-1)
        row[1].fill_between(rank, end.min("seed"), end.max("seed"), color="0.2", alpha=0.25, linewidth=0)
        row[1].plot(rank, end.median("seed"), color="0.2", marker="o")
        row[1].plot(rank, flow.isel(time=-1), color="0.2", **POPULATION)
        row[2].plot(one["time"][1:], spectrum.median("seed").isel(time=slice(1, None)), color=BLOCK_COLOURS[0], linewidth=0.7)
        row[2].plot(one["time"][1:], flow.isel(time=slice(1, None)), color=BLOCK_COLOURS[1], **POPULATION)
        row[2].set(xscale="log")
        for axis in row[1:]:
            axis.set(yscale="log", ylim=(1e-8, 100))
        row[1].set_xlim(0.5, dataset.sizes["mode"] + 0.5)
        if end.max() < 1e-8:
            row[1].text(0.5, 0.5, "all below $10^{-8}$", transform=row[1].transAxes, ha="center")
    axes[0, 1].set_title("covariance spectrum at the end")
    axes[0, 2].set_title("covariance spectrum in time")
    for axis, label in zip(axes[-1], ("embedding", "rank", "time t"), strict=True):
        axis.set_xlabel(label)
    handles = [
        Line2D([], [], color=BLOCK_COLOURS[0], linestyle="", marker="o", label="two leading directions"),
        Line2D([], [], color=BLOCK_COLOURS[1], linestyle="", marker="^", label="two trailing directions"),
        Line2D([], [], color="0.2", marker="o", label="simulation"),
        Line2D([], [], color="0.2", label="population flow", **POPULATION),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


PANELS = {
    "one-view": "one layer, one noisy view",
    "two-views": "one layer, two noisy views",
    "two-layers": "two layers, balanced",
    "two-layers-random": "two layers, random start",
}


def phases(dataset: xr.Dataset) -> Figure:
    """Collapsed dimensions over noise and initial scale; below, measured minus predicted. One column per model.

    Solid lines: where the population flow crosses the cut-off; dashed: its threshold and escape times.
    Args: dataset of `experiments/phase_diagram.py`. Returns: Figure.
    """
    count = dataset.sizes["model"]
    figure, axes = plt.subplots(2, count, figsize=(2.3 * count + 1.2, 4.6), squeeze=False, sharex=True, sharey=True)
    dims = dataset.sizes["mode"]
    counts = BoundaryNorm(np.arange(-0.5, dims + 1), plt.get_cmap("cividis").N)
    for column, model in enumerate(dataset["model"].values):
        one = dataset.sel(model=model)
        measured = one["collapsed"].mean("seed")
        misses = Normalize(-dims, dims)
        images = [
            _phase_map(axes[0, column], measured, "cividis", counts),
            _phase_map(axes[1, column], measured - one["predicted_collapsed"], "PuOr", misses),
        ]
        _phase_boundaries(axes[0, column], one, "white")
        _phase_boundaries(axes[1, column], one, "0.3")
        axes[0, column].set_title(f"{PANELS.get(str(model), model)}\nat t = {float(one['end_time']):g}")
        axes[1, column].set_xlabel("noise")
    for row, label in enumerate(("collapsed dimensions", "measured − predicted")):
        axes[row, 0].set_ylabel("initial scale")
        figure.colorbar(images[row], ax=axes[row, :], label=label, pad=0.02, ticks=MaxNLocator(5, integer=True))
    handles = [
        Line2D([], [], color="0.3", label="population flow at the cut-off"),
        Line2D([], [], color="0.3", linestyle="--", label="threshold √2, escape times"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _phase_map(axis: Axes, values: xr.DataArray, colours: str, norm: Normalize):
    cells = values.transpose("init_scale", "noise")
    return axis.pcolormesh(cells["noise"], cells["init_scale"], cells, shading="nearest", cmap=colours, norm=norm)


def _phase_boundaries(axis: Axes, one: xr.Dataset, colour: str) -> None:
    cutoff = one.attrs["cutoff"]
    noise, scale = one["fine_noise"].values, one["fine_init_scale"].values
    for block in one["block"].values:
        deviation = one["predicted_deviation"].sel(block=block).transpose("fine_init_scale", "fine_noise").values
        if deviation.min() < cutoff < deviation.max():
            axis.contour(noise, scale, np.log(deviation), [np.log(cutoff)], colors=colour, linewidths=1.2, linestyles="-")
        escape = one["escape_boundary"].sel(block=block).values
        axis.plot(noise, np.where(escape <= scale[-1], escape, np.nan), color=colour, linestyle="--", linewidth=1.0)
    if np.isnan(one["escape_boundary"]).all() and one["predicted_collapsed"].max() > 0:
        axis.axvline(np.sqrt(2), color=colour, linestyle="--", linewidth=1.0)
    axis.set(yscale="log", xlim=(noise[0], noise[-1]), ylim=(scale[0], scale[-1]))


def _shown_noise(dataset: xr.Dataset) -> int:
    """Panel (b) shows the strongest noise that theory does not let collapse, else the weakest of all."""
    kept = np.flatnonzero(dataset["predicted_collapsed"].values == 0)
    noise = dataset["noise"].values
    return int(kept[np.argmax(noise[kept])]) if len(kept) else int(np.argmin(noise))


def _colours(dataset: xr.Dataset) -> list:
    return [plt.get_cmap("cividis")(f) for f in np.linspace(0.0, 0.85, dataset.sizes["noise"])]


def _noise_handles(dataset: xr.Dataset) -> list[Line2D]:
    styles = zip(dataset["noise"].values, _colours(dataset), MARKERS * 10, strict=False)
    return [Line2D([], [], color=colour, marker=marker, label=f"{noise:g}") for noise, colour, marker in styles]


def _style_handles(dataset: xr.Dataset) -> list[Line2D]:
    handles = [
        Line2D([], [], color="0.2", marker="o", label="simulation"),
        Line2D([], [], color="0.2", label="population", **POPULATION),
    ]
    if np.isfinite(dataset["condensed_block_strength"]).any():
        handles.append(Line2D([], [], color="0.2", label="condensed", **CONDENSED))
    return handles


def _floor(values: np.ndarray) -> float:
    """Lower end of a log axis: a decade below the smallest value that single precision resolves."""
    largest = np.nanmax(values)
    resolved = values[values > 1e-7 * largest]
    return max(0.3 * float(resolved.min()), 1e-7 * largest) if len(resolved) else 1e-7


def _final_spectra(axis: Axes, end: xr.Dataset, name: str, label: str) -> None:
    rank = np.arange(1, end.sizes["mode"] + 1)
    measured, predicted = end[name], end[f"population_{name}"].median("seed").values
    median = measured.median("seed").values
    low, high = measured.min("seed").values, measured.max("seed").values
    axis.set_ylim(_floor(median), 3 * np.nanmax([high.max(), predicted.max()]))
    for index, (colour, marker) in enumerate(zip(_colours(end), MARKERS * 10, strict=False)):
        axis.fill_between(rank, low[index], high[index], color=colour, alpha=0.25, linewidth=0)
        axis.plot(rank, median[index], color=colour, marker=marker)
        axis.plot(rank, predicted[index], color=colour, **POPULATION)
    axis.set(yscale="log", xlabel="rank", ylabel=label)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _condensed_spectrum(axis: Axes, end: xr.Dataset) -> None:
    strength = np.sqrt(end["condensed_block_strength"].values)
    split = end.sizes["mode"] - end.attrs["noisy_dims"]
    rank = np.arange(1, end.sizes["mode"] + 1)
    for index, colour in enumerate(_colours(end)):
        axis.plot(rank, np.where(rank <= split, *strength[index]), color=colour, **CONDENSED)


def _evolution(axis: Axes, dataset: xr.Dataset) -> None:
    time = dataset["time"].values[1:]
    values = dataset["weight_singular_values"].median("seed").values[1:]
    split = values.shape[1] - dataset.attrs["noisy_dims"]
    for start, stop, colour in ((0, split, BLOCK_COLOURS[0]), (split, values.shape[1], BLOCK_COLOURS[1])):
        axis.plot(time, values[:, start:stop], color=colour, linewidth=0.6)
    for block, colour in (("clean", BLOCK_COLOURS[0]), ("noisy", "#7d6f1c")):
        population = dataset["population_block_strength"].median("seed").sel(block=block).values[1:]
        condensed = dataset["condensed_block_strength"].sel(block=block).values[1:]
        axis.plot(time, np.sqrt(population), color=colour, **POPULATION)
        axis.plot(time, np.sqrt(condensed), color=colour, **CONDENSED)
    axis.set(xscale="log", yscale="log", xlabel="time t = learning rate × steps", ylabel="singular value of W")
    axis.set_ylim(bottom=_floor(values[-1]))
    axis.set_title(f"(b) evolution at noise {float(dataset['noise']):g}")
