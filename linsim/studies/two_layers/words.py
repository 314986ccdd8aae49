"""What the tables of two linear layers share."""

import xarray as xr


def setting(dataset: xr.Dataset) -> str:
    """What was trained, in a line above the table."""
    count = dataset["loss"].isel(time=0).size
    return (
        f"{dataset.attrs['loss']} loss (mean over anchors), {dataset.attrs['solver']}, {dataset.attrs['dtype']}, noise "
        f"{float(dataset['noise'][0]):g}, t = {float(dataset['time'][-1]):g}; table of the first of {count} runs"
    )
