"""The paper's statements about projectors, and what seeds of one's own runs say about each.

Source: paper, section 6, Tables 1 and 2, Appendix F.

Runs with the same seed share images, split, initial encoder and batches, so settings are compared
by their paired differences. A table holds many comparisons: their intervals cover together with a
probability of 95 % (Bonferroni), so that a verdict is not the luckiest of many draws.
"""

from typing import Literal, NamedTuple

import numpy as np
import scipy
import xarray as xr

from linsim.spectra import numerical_rank

SETUPS = {
    "none": "no projector",
    "orthogonal": "fixed orthogonal",
    "trainable-orthogonal": "trainable orthogonal",
    "linear": "trainable linear",
    "diagonal": "trainable diagonal",
    "low-rank": "fixed low-rank",
    "low-rank-diagonal": "fixed low-rank diagonal",
    "nonlinear": "two-layer nonlinear",
    "directclr": "DirectCLR",
    "random-subset": "random subset each step",
    "directclr-linear-block": "DirectCLR, linear last block",
    "shuffled": "control: shuffled positives",
}

# ImageNet linear probe, ResNet-50, 100 epochs, top-1 %: Tables 1 and 2, Appendix F.
PAPER = {
    "none": 51.5,
    "orthogonal": 52.2,
    "linear": 61.1,
    "diagonal": 60.2,
    "low-rank": 62.3,
    "low-rank-diagonal": 62.7,
    "nonlinear": 66.5,
    "directclr": 62.7,
    "random-subset": 43.0,
}
CONFIDENCE = 0.95
MARGIN = 0.01  # accuracies that differ by less than a point count as equal
Measure = Literal["probe", "rankme"]
Outcome = Literal["holds", "does not hold", "within noise", "cannot tell"]


class Interval(NamedTuple):
    """Mean over seeds and its confidence interval; nan bounds with fewer than two seeds."""

    mean: float
    low: float
    high: float


class Comparison(NamedTuple):
    """One of the paper's statements: `better` lies above `worse`, or equals it up to MARGIN.

    Both are a (setup, feature), held against one another by a measure.
    """

    statement: str
    where: str
    better: tuple[str, str]
    worse: tuple[str, str]
    measure: Measure = "probe"
    equal: bool = False


COMPARISONS = (
    Comparison("a nonlinear projector beats none", "Table 1", ("nonlinear", "r"), ("none", "r")),
    Comparison("a linear projector beats none", "Table 1", ("linear", "r"), ("none", "r")),
    Comparison(
        "a nonlinear projector beats a linear one", "Table 1", ("nonlinear", "r"), ("linear", "r")
    ),
    Comparison("DirectCLR beats no projector", "Table 1", ("directclr", "r"), ("none", "r")),
    Comparison(
        "DirectCLR beats a linear projector", "Table 1", ("directclr", "r"), ("linear", "r")
    ),
    Comparison(
        "a nonlinear projector beats DirectCLR", "Table 1", ("nonlinear", "r"), ("directclr", "r")
    ),
    Comparison(
        "a fixed orthogonal projector changes nothing",
        "Table 2",
        ("orthogonal", "r"),
        ("none", "r"),
        equal=True,
    ),
    Comparison(
        "a trained diagonal projector is as good as a linear one",
        "Prop. 1",
        ("diagonal", "r"),
        ("linear", "r"),
        equal=True,
    ),
    Comparison(
        "a low-rank diagonal projector is as good as a low-rank one",
        "Prop. 1",
        ("low-rank-diagonal", "r"),
        ("low-rank", "r"),
        equal=True,
    ),
    Comparison(
        "a fixed low-rank projector is enough: it beats none",
        "Prop. 2",
        ("low-rank", "r"),
        ("none", "r"),
    ),
    Comparison(
        "a fixed low-rank projector beats a trained linear one",
        "Table 2",
        ("low-rank", "r"),
        ("linear", "r"),
    ),
    Comparison(
        "whole r beats the subvector that was trained on",
        "App. F",
        ("directclr", "r"),
        ("directclr", "r[:d0]"),
    ),
    Comparison(
        "a random subset is worse than a fixed one",
        "App. F",
        ("directclr", "r"),
        ("random-subset", "r"),
    ),
    Comparison(
        "a random subset is worse than no projector",
        "App. F",
        ("none", "r"),
        ("random-subset", "r"),
    ),
    Comparison(
        "a nonlinear projector keeps more rank than none",
        "Fig. 7b",
        ("nonlinear", "r"),
        ("none", "r"),
        "rankme",
    ),
    Comparison(
        "DirectCLR keeps more rank than none", "Fig. 9", ("directclr", "r"), ("none", "r"), "rankme"
    ),
)


def interval(values: np.ndarray, comparisons: int = 1) -> Interval:
    """Mean of independent seeds with Student's t interval.

    Args: values (seeds,); comparisons: of how many intervals this is one, which shall together
    cover with a probability of 95 % (Bonferroni).
    Returns: Interval.
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, np.nan, np.nan)
    half = (
        scipy.special.stdtrit(count - 1, 1 - (1 - CONFIDENCE) / (2 * comparisons))
        * float(np.std(values, ddof=1))
        / np.sqrt(count)
    )
    return Interval(mean, mean - half, mean + half)


def outcome(difference: Interval, *, equal: bool) -> Outcome:
    """What the interval of better - worse says about the statement.

    An equality holds if the whole interval lies between -MARGIN and MARGIN, which is a test of
    equivalence by two one-sided tests (Schuirmann 1987), and does not if all of it lies outside.
    Without an interval there is no verdict.
    """
    if not np.all(np.isfinite(difference)):
        return "cannot tell"
    if equal:
        nearest = max(difference.low, -difference.high, 0.0)
        farthest = max(abs(difference.low), abs(difference.high))
        holds, refuted = farthest < MARGIN, nearest > MARGIN
    else:
        holds, refuted = difference.low > 0, difference.high < 0
    return "holds" if holds else "does not hold" if refuted else "within noise"


def measured(dataset: xr.Dataset, side: tuple[str, str], measure: str, labels: str) -> np.ndarray:
    """One side of a comparison: the probe's accuracy with so many `labels`, or RankMe of r.

    Returns: (seeds,).
    """
    setup, feature = side
    one = dataset.sel(projector=setup)
    values = (
        one["probe_accuracy"].sel(feature=feature, labels=labels)
        if measure == "probe"
        else one["representation_rankme"]
    )
    return values.values


def judge(dataset: xr.Dataset, comparison: Comparison, labels: str) -> tuple[Interval, Outcome]:
    """Paired difference of a comparison over the seeds, and its outcome.

    The interval is one of all that the table of this dataset holds.
    """
    better, worse = (
        measured(dataset, side, comparison.measure, labels)
        for side in (comparison.better, comparison.worse)
    )
    difference = interval(better - worse, len(asked(dataset)))
    return difference, outcome(difference, equal=comparison.equal)


def testable(dataset: xr.Dataset) -> list[Comparison]:
    """The comparisons of which both sides were run."""
    held = set(dataset["projector"].values.tolist())
    return [each for each in COMPARISONS if {each.better[0], each.worse[0]} <= held]


def asked(dataset: xr.Dataset) -> list[tuple[Comparison, str]]:
    """Every comparison that can be judged, with each number of labels that it is judged for."""
    labels = [str(name) for name in dataset["labels"].values]
    return [
        (comparison, name)
        for comparison in testable(dataset)
        for name in (labels if comparison.measure == "probe" else labels[:1])
    ]


def rank_correlation(dataset: xr.Dataset, labels: str) -> Interval:
    """Spearman's correlation of the probe's ordering of the setups with the paper's, seed by seed.

    Returns: Interval.
    """
    setups = [name for name in dataset["projector"].values.tolist() if name in PAPER]
    accuracies = (
        dataset["probe_accuracy"]
        .sel(projector=setups, feature="r", labels=labels)
        .transpose("seed", "projector")
        .values
    )
    paper = [PAPER[name] for name in setups]
    correlations: list = [scipy.stats.spearmanr(paper, row) for row in accuracies]
    return interval(np.array([each.statistic for each in correlations]))


def gradient_ranks(dataset: xr.Dataset) -> xr.DataArray:
    """`spectra.numerical_rank` of the batch gradients (paper, Fig. 10).

    Returns: gradient_spectrum without its dimension mode.
    """
    return xr.apply_ufunc(numerical_rank, dataset["gradient_spectrum"], input_core_dims=[["mode"]])
