"""Probes: how much of the labels a frozen representation holds, by scikit-learn's classifiers.

Features are standardised, the regularisation is chosen inside the training part, and the test part
is seen once. Importing this needs scikit-learn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from linsim.images.names import FEATURES, Classifier, Feature

INVERSE_PENALTIES = np.logspace(-3, 2, 6)
PENALTIES = np.logspace(0, 5, 6)
FOLDS = 3
DRAWS = 3  # of a few labels; their accuracies are averaged
NEIGHBOURS = 200
SHARPNESS = 0.07

Features = Float[np.ndarray, "N k"]
Labels = Int[np.ndarray, "N"]
Rows = Int[np.ndarray, "_n"]


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Which probes are taken of a representation; equal ones have the same text.

    features: what is probed; d0: where r is divided; few: labels per class of the probes with few
    labels, beside the one with all; seed: of the draws of these; classifier: the linear probe;
    neighbours: whether the vote of the nearest neighbours is taken, too.
    """

    features: tuple[Feature, ...] = FEATURES
    d0: int = 0
    few: tuple[int, ...] = ()
    seed: int = 0
    classifier: Classifier = "logistic"
    neighbours: bool = False

    def taken(
        self, h: Features, r: Features, labels: Labels, train: Rows, test: Rows
    ) -> dict[str, np.ndarray]:
        """What the probes of one run find.

        Args: h, r (N, width), labels (N,); row numbers to train on and to test on.
        Returns: probe_accuracy (feature, labels), and knn_accuracy (feature,) with `neighbours`.
        """
        parts: Mapping[Feature, Features] = {
            "r": r,
            "r[:d0]": r[:, : self.d0],
            "r[d0:]": r[:, self.d0 :],
            "h": h,
        }
        probed = [parts[name] for name in self.features]
        found = {
            "probe_accuracy": np.array([self.linear(each, labels, train, test) for each in probed])
        }
        if self.neighbours:
            votes = [nearest(each, labels, train, test) for each in probed]
            found["knn_accuracy"] = np.array(votes)
        return found

    def linear(self, features: Features, labels: Labels, train: Rows, test: Rows) -> np.ndarray:
        """`accuracies` of the linear probe of any features. Returns: (labels,)."""
        fitted = {"logistic": accuracy, "ridge": ridge}[self.classifier]
        return accuracies(features, labels, train, test, self.few, self.seed, fitted)


def accuracy(features: Features, labels: Labels, train: Rows, test: Rows) -> float:
    """Share of the test rows that a probe fitted on the training rows gets right.

    Args: features (N, k); labels (N,); row numbers to train on (at least two of each class) and to
    test on.
    Returns: 0 to 1.
    """
    folds = min(FOLDS, int(np.unique(labels[train], return_counts=True)[1].min()))
    options: Any = {
        "l1_ratios": (0.0,),
        "scoring": "accuracy",
        "max_iter": 2000,
        "use_legacy_attributes": False,
    }
    classifier = LogisticRegressionCV(Cs=INVERSE_PENALTIES, cv=folds, **options)  # type: ignore[arg-type]
    return _share(make_pipeline(StandardScaler(), classifier), features, labels, train, test)


def few_rows(rng: np.random.Generator, labels: Labels, train: Rows, count: int) -> Rows:
    """`count` random training rows of each class. Raises: ValueError if a class has fewer."""
    return np.concatenate(
        [
            rng.choice(train[labels[train] == name], count, replace=False)
            for name in np.unique(labels[train])
        ]
    )


def ridge(features: Features, labels: Labels, train: Rows, test: Rows) -> float:
    """`accuracy` of a linear probe by least squares on -1 and 1 per class.

    It is in closed form, for many images:

        min_W |Y - X W|^2 + penalty |W|^2, the penalty chosen by leave-one-out error

    Source: Rifkin, Yeo and Poggio 2003 (regularised least-squares classification).
    Args, Returns: as `accuracy`.
    """
    classifier = RidgeClassifierCV(alphas=PENALTIES)
    return _share(make_pipeline(StandardScaler(), classifier), features, labels, train, test)


def nearest(features: Features, labels: Labels, train: Rows, test: Rows) -> float:
    """Share of the test rows that the vote of their nearest training rows gets right.

    Of the NEIGHBOURS nearest by cosine:

        votes of class c = sum of e^{cos(x, x_i) / SHARPNESS} over the neighbours x_i of class c

    Source: Wu et al. 2018 (arXiv 1805.01978), section 3.4.
    Args, Returns: as `accuracy`; nan as in `accuracies`.
    """
    if not _usable(features):
        return float("nan")
    options: Any = {
        "metric": "cosine",
        "algorithm": "brute",
        "weights": lambda distance: np.exp((1 - distance) / SHARPNESS),
    }
    model = KNeighborsClassifier(min(NEIGHBOURS, len(train)), **options)
    return _share(model, features, labels, train, test)


def accuracies(
    features: Features,
    labels: Labels,
    train: Rows,
    test: Rows,
    few: tuple[int, ...],
    seed: int,
    fitted: Callable[[Features, Labels, Rows, Rows], float] = accuracy,
) -> np.ndarray:
    """Accuracy with all training labels, then with each of `few` labels per class.

    The latter are means over DRAWS draws.

    Args: as `accuracy`; few: labels per class; seed of the draws; fitted: the probe.
    Returns: (1 + len(few),); nan for features without a column, or of a run that diverged.
    """
    if not _usable(features):
        return np.full(1 + len(few), np.nan)
    rng = np.random.default_rng(seed)
    drawn = [
        np.mean(
            [
                fitted(features, labels, few_rows(rng, labels, train, count), test)
                for _ in range(DRAWS)
            ]
        )
        for count in few
    ]
    return np.array([fitted(features, labels, train, test), *drawn])


def _share(model: Any, features: Features, labels: Labels, train: Rows, test: Rows) -> float:
    """Share of the test rows that a scikit-learn classifier fitted on the training rows gets right.

    It has one thread: other cores belong to other runs.
    """
    with threadpool_limits(1):
        return float(model.fit(features[train], labels[train]).score(features[test], labels[test]))


def _usable(features: Features) -> bool:
    return features.shape[1] > 0 and bool(np.isfinite(features).all())
