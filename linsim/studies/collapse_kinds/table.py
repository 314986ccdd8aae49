"""The table of the kinds of collapse."""

import numpy as np
import xarray as xr

from linsim.spectra import kinds_found

READABLE = {
    "infonce-two-views": "InfoNCE, two noisy views",
    "infonce-one-view": "InfoNCE, one noisy view",
    "alignment-only": "No negatives",
    "predictor": "Predictor and stop-gradient",
    "no-stop-gradient": "Predictor, no stop-gradient",
    "no-predictor": "Stop-gradient, no predictor",
}


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict: the kind of collapse of every run, measured and predicted."""
    first, last = dataset.isel(time=0), dataset.isel(time=-1)
    lines = [
        f"one linear layer, noise {dataset.attrs['base_noise']:g} and, in "
        f"{dataset.attrs['noisy_dims']} of "
        f"{dataset.sizes['mode']} coordinates, {dataset.attrs['noise']:g}; fresh batches of "
        f"{dataset.attrs['batch_size']}, mean "
        f"losses, weight decay {dataset.attrs['weight_decay']:g}, {dataset.sizes['seed']} seeds, "
        f"{dataset.attrs['dtype']}, "
        f"t = {float(last['time']):g}",
        "",
        f"{'objective':18} {'variance left':>14} {'smallest/largest':>17} {'theory':>12}  "
        "kind of collapse (predicted)",
    ]
    agrees, early = 0, []
    for objective in dataset["objective"].values:
        end, flow = (
            last[name].sel(objective=objective).median("seed")
            for name in ("embedding_spectrum", "theory_embedding_spectrum")
        )
        left = float(
            end.sum() / first["embedding_spectrum"].sel(objective=objective).median("seed").sum()
        )
        found, expected = (
            kinds_found(last[name].sel(objective=objective).values)
            for name in ("kind", "theory_kind")
        )
        one = dataset.sel(objective=objective)
        if expected == "none" and not settled(one["theory_embedding_spectrum"]):
            early.append(str(objective))
        else:
            agrees += found == expected
        lines.append(
            f"{objective:18} {left:>14.3g} {float(end.min() / end.max()):>17.3g} "
            f"{float(flow.min() / flow.max()):>12.3g}  "
            f"{found} ({expected})"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"verdict: the kind of collapse that theory predicts in {agrees} of "
            f"{dataset.sizes['objective']} objectives" + _too_early(early),
        ]
    )


def settled(spectrum: xr.DataArray) -> bool:
    """Whether no eigenvalue has changed by a tenth over the last factor 2 in time."""
    late = spectrum.isel(time=spectrum["time"].values >= 0.5 * float(spectrum["time"][-1]))
    if late.sizes["time"] < 3:
        return False
    change = np.abs(np.log(late / late.isel(time=-1)))
    return bool(change.max() < 0.1)


def _too_early(objectives: list[str]) -> str:
    if not objectives:
        return ""
    return (
        f"; cannot tell in {len(objectives)}, which have not collapsed but still change: more "
        f"--steps ({', '.join(objectives)})"
    )
