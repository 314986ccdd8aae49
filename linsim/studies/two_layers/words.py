"""What the tables of two linear layers share."""

import numpy as np
import xarray as xr


def setting(dataset: xr.Dataset) -> str:
    """What was trained, in a line above the table."""
    count, asked = dataset["loss"].isel(time=0).size, dataset.attrs
    trained = f"{asked['loss']} loss (mean over anchors), {asked['solver']}, {asked['dtype']}"
    where = f"noise {float(dataset['noise'][0]):g}, t = {float(dataset['time'][-1]):g}"
    return f"{trained}, {where}; table of the first of {count} runs"


def one_by_one(dataset: xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    """The runs of each noise and initial scale, and how to call them where there are several."""
    found = []
    for noise in dataset["noise"].values:
        for scale in dataset["init_scale"].values:
            name = f"noise {noise:g}: " if dataset.sizes["noise"] > 1 else ""
            name += f"init scale {scale:g}: " if dataset.sizes["init_scale"] > 1 else ""
            found.append((name, dataset.sel(noise=[noise], init_scale=[scale])))
    return found


def runs(dataset: xr.Dataset) -> list[dict[str, int]]:
    """The place of every run in the grid."""
    dims = ("noise", "init_scale", "seed")
    places = np.ndindex(*(dataset.sizes[dim] for dim in dims))
    return [dict(zip(dims, place, strict=True)) for place in places]


def named(run: xr.Dataset) -> dict[str, object]:
    """Which run it is, for a row of a table."""
    return {name: run[name].item() for name in ("noise", "init_scale", "seed") if name in run}
