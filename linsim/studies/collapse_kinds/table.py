"""The table of the kinds of collapse."""

import numpy as np
import xarray as xr

from linsim.spectra import kinds_found
from linsim.studies import tabular
from linsim.studies.tabular import Column

READABLE = {
    "infonce-two-views": "InfoNCE, two noisy views",
    "infonce-one-view": "InfoNCE, one noisy view",
    "alignment-only": "No negatives",
    "predictor": "Predictor and stop-gradient",
    "no-stop-gradient": "Predictor, no stop-gradient",
    "no-predictor": "Stop-gradient, no predictor",
}


COLUMNS = [
    Column("objective", "objective", lambda name: READABLE.get(str(name), str(name)), left=True),
    Column("variance_left", "variance left", "{:.3g}".format),
    Column("smallest_by_largest", "smallest / largest", "{:.3g}".format),
    Column("theory", "the same in theory", "{:.3g}".format),
    Column("kind", "collapse", left=True),
    Column("predicted", "(predicted)", "({})".format, left=True),
]


def legend(dataset: xr.Dataset) -> str:
    """What the columns mean."""
    complete, below = dataset.attrs["complete"], dataset.attrs["dimensional"]
    return (
        "variance left: of the embeddings' total variance at the start; smallest / largest: "
        "eigenvalue of their covariance at the end, both medians over seeds; collapse is complete "
        f"below {100 * complete:g} % of the initial variance, dimensional if an eigenvalue is "
        f"below {below:g} of the largest; settled: no eigenvalue has changed by a tenth over the "
        "last half of the time"
    )


def rows(dataset: xr.Dataset) -> list[dict[str, object]]:
    """What is left of every objective, and its kind of collapse, found and predicted."""
    first, last, found = dataset.isel(time=0), dataset.isel(time=-1), []
    for objective in dataset["objective"].values:
        start, end, flow = (
            one[name].sel(objective=objective).median("seed")
            for one, name in (
                (first, "embedding_spectrum"),
                (last, "embedding_spectrum"),
                (last, "theory_embedding_spectrum"),
            )
        )
        kind, predicted = (
            kinds_found(last[name].sel(objective=objective).values)
            for name in ("kind", "theory_kind")
        )
        found.append(
            {
                "objective": str(objective),
                "variance_left": float(end.sum() / start.sum()),
                "smallest_by_largest": float(end.min() / end.max()),
                "theory": float(flow.min() / flow.max()),
                "kind": kind,
                "predicted": predicted,
            }
        )
    return found


def tell(dataset: xr.Dataset) -> str:
    """Table and verdict: the kind of collapse of every run, measured and predicted."""
    setting = (
        f"one linear layer, noise {dataset.attrs['base_noise']:g} and, in "
        f"{dataset.attrs['noisy_dims']} of "
        f"{dataset.sizes['mode']} coordinates, {dataset.attrs['noise']:g}; fresh batches of "
        f"{dataset.attrs['batch_size']}, mean "
        f"losses, weight decay {dataset.attrs['weight_decay']:g}, {dataset.sizes['seed']} seeds, "
        f"{dataset.attrs['dtype']}, "
        f"t = {float(dataset['time'][-1]):g}"
    )
    agrees, early, found = 0, [], rows(dataset)
    for row in found:
        flow = dataset["theory_embedding_spectrum"].sel(objective=row["objective"])
        if row["predicted"] == "none" and not settled(flow):
            early.append(str(row["objective"]))
        else:
            agrees += row["kind"] == row["predicted"]
    table = [*tabular.lines(COLUMNS, found), *tabular.legend(legend(dataset))]
    verdict = (
        f"verdict: the kind of collapse that theory predicts in {agrees} of {len(found)} objectives"
    )
    return "\n".join([setting, "", *table, "", verdict + _too_early(early)])


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
