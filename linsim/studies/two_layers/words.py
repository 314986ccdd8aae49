"""What the tables of two linear layers share."""

import xarray as xr


def setting(dataset: xr.Dataset) -> str:
    """What was trained, in a line above the table."""
    count, asked = dataset["loss"].isel(time=0).size, dataset.attrs
    trained = f"{asked['loss']} loss (mean over anchors), {asked['solver']}, {asked['dtype']}"
    where = f"noise {float(dataset['noise'][0]):g}, t = {float(dataset['time'][-1]):g}"
    return f"{trained}, {where}; table of the first of {count} runs"
