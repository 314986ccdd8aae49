"""Probes: they read what is linearly there, from training rows alone, and are their formulas."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from threadpoolctl import threadpool_info, threadpool_limits

from linsim.images import probe
from linsim.images.probe import Probes


def test_ridge_and_neighbours_are_their_formulas():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    features = 1.5 + np.eye(3)[labels] @ rng.standard_normal((3, 4)) + rng.standard_normal((120, 4))
    order = rng.permutation(120)
    train, test = order[:90], order[90:]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = unit[test] @ unit[train].T
    for neighbours in (90, 7):
        votes = np.zeros((30, 3))
        for row, near in enumerate(np.argsort(-cosine, axis=1)[:, :neighbours]):
            np.add.at(votes[row], labels[train][near], np.exp(cosine[row, near] / 0.07))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(probe, "NEIGHBOURS", neighbours)
            assert probe.nearest(features, labels, train, test) == np.mean(
                votes.argmax(axis=1) == labels[test]
            )
    x = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    y = 2 * np.eye(3)[labels] - 1
    found = []
    for penalty in probe.PENALTIES:
        inverse = np.linalg.inv(x[train].T @ x[train] + penalty * np.eye(4)) @ x[train].T
        offset = y[train].mean(axis=0)
        hat = x[train] @ inverse + 1 / len(train)
        left_out = (y[train] - x[train] @ inverse @ y[train] - offset) / (1 - np.diag(hat))[:, None]
        found.append(
            (
                np.mean(left_out**2),
                np.mean((x[test] @ inverse @ y[train] + offset).argmax(axis=1) == labels[test]),
            )
        )
    assert probe.ridge(features, labels, train, test) == min(found)[1]
    assert np.isnan(probe.nearest(features[:, :0], labels, train, test))
    assert np.isnan(probe.nearest(features * np.nan, labels, train, test))


def test_probe_reads_what_is_linearly_there_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 60)
    features = np.eye(3)[labels] @ rng.standard_normal((3, 5)) + 0.1 * rng.standard_normal((180, 5))
    order = rng.permutation(180)
    train, test = order[:120], order[120:]
    every, few = probe.accuracies(features, labels, train, test, (5,), 0)
    assert every > 0.95
    assert few > 0.9
    shuffled = probe.accuracy(features, rng.permutation(labels), train, test)
    assert shuffled < 1 / 3 + 4 * np.sqrt(2 / 9 / 60)  # chance, four standard errors
    assert np.isnan(probe.accuracies(features[:, :0], labels, train, test, (5,), 0)).all()


def test_probes_are_those_of_the_docs():
    """Ridge and logistic penalties by powers of ten, 3 folds and draws, 200 sharp neighbours."""
    np.testing.assert_allclose(probe.INVERSE_PENALTIES, [1e-3, 1e-2, 0.1, 1, 10, 100])
    np.testing.assert_allclose(probe.PENALTIES, [1, 10, 100, 1e3, 1e4, 1e5])
    assert (probe.FOLDS, probe.DRAWS, probe.NEIGHBOURS, probe.SHARPNESS) == (3, 3, 200, 0.07)


def test_a_class_may_have_two_images_and_a_run_may_have_diverged():
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 1, 1, 0, 1])
    features = np.eye(2)[labels] + 0.1 * rng.standard_normal((6, 2))
    train, test = np.arange(4), np.arange(4, 6)
    assert probe.accuracy(features, labels, train, test) == 1.0
    assert probe.nearest(features, labels, train, test) == 1.0  # fewer than 200 neighbours
    diverged = features.copy()
    diverged[0, 0] = np.inf
    found = probe.accuracies(diverged, labels, train, test, (2, 2), 0)
    assert found.shape == (3,)
    assert np.isnan(found).all()


def test_one_feature_is_enough_for_a_probe():
    labels = np.repeat(np.arange(2), 20)
    features = labels[:, None] + np.tile([0.1, -0.1], 20)[:, None]
    train, test = np.arange(0, 40, 2), np.arange(1, 40, 2)
    found = probe.accuracies(features, labels, train, test, (5,), 0, probe.ridge)
    assert found.tolist() == [1.0, 1.0]


def test_test_images_do_not_reach_the_probe():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(2), 30)
    features = rng.standard_normal((60, 4))
    train, test = np.arange(0, 60, 2), np.arange(1, 60, 2)
    before = probe.accuracy(features, labels, train, test[:5])
    moved = features.copy()
    moved[test[5:]] = 1e6
    assert probe.accuracy(moved, labels, train, test[:5]) == before


def test_a_probe_leaves_the_other_cores_to_other_runs():
    class Asks(DummyClassifier):
        def fit(self, X, y, sample_weight=None):
            threads.append({pool["num_threads"] for pool in threadpool_info()})
            return super().fit(X, y, sample_weight)

    threads, rows = [], np.arange(4)
    with threadpool_limits(2), pytest.MonkeyPatch.context() as patched:
        for name in ("LogisticRegressionCV", "RidgeClassifierCV", "KNeighborsClassifier"):
            patched.setattr(probe, name, lambda *_, **__: Asks())
        for fitted in (probe.accuracy, probe.ridge, probe.nearest):
            fitted(np.eye(4), rows % 2, rows, rows)
        assert 2 in {pool["num_threads"] for pool in threadpool_info()}
    assert threads == [{1}] * 3


def test_few_rows_are_distinct_training_rows_of_each_class():
    labels = np.repeat(np.arange(4), 25)
    train = np.arange(0, 100, 2)
    rows = probe.few_rows(np.random.default_rng(0), labels, train, 5)
    assert len(set(rows)) == 20
    assert set(rows) <= set(train)
    assert np.bincount(labels[rows]).tolist() == [5] * 4


def test_probes_divide_the_representation_at_d0():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 40)
    r = rng.standard_normal((120, 6))
    r[:, :2] += 4 * np.eye(3)[labels][:, :2]  # the classes are told apart in r[:2] alone
    h = rng.standard_normal((120, 6))
    order = rng.permutation(120)
    probes = Probes(d0=2, few=(5,), classifier="ridge", neighbours=True)
    found = probes.taken(h, r, labels, order[:90], order[90:])
    assert found["probe_accuracy"].shape == (4, 2)
    whole, head, tail, entering = found["probe_accuracy"][:, 0]
    assert min(whole, head) > 0.9
    assert max(tail, entering) < 0.7
    assert found["knn_accuracy"].shape == (4,)
    alone = Probes(features=("r",), few=(5,), classifier="ridge")
    again = alone.taken(h, r, labels, order[:90], order[90:])
    assert again.keys() == {"probe_accuracy"}
    np.testing.assert_array_equal(again["probe_accuracy"], found["probe_accuracy"][:1])
    assert repr(alone) != repr(probes)
    undivided = Probes(classifier="ridge").taken(h, r, labels, order[:90], order[90:])
    whole, head, tail, entering = undivided["probe_accuracy"]
    assert np.isnan(head)
    assert whole == tail == found["probe_accuracy"][0, 0]
    assert entering == found["probe_accuracy"][3, 0]
