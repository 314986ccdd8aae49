"""Theory on one's own pairs of views: estimates, directions, strengths, what the pairs themselves
say, training, and one clear sentence for what is no pair.
"""

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from helpers import ROOT, assert_close

from linsim import diagnose
from linsim.config import BadInput
from linsim.diagnose import command
from linsim.diagnose.views import directions, measured, moments, strengths, trained
from linsim.theory import finite_batch, infonce, late_time, population
from linsim.theory.modes import Modes

RNG = np.random.default_rng(0)


def random_covariance(dim: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((dim, 2 * dim))
    return root @ root.T / (2 * dim)


def pairs(rows: int, ratios, seed: int = 0, bond: float = 0.0):
    """Clean anchors of variance 1, noise of variances `ratios` on the other view, uncorrelated
    directions; with a bond, all noise of a row has one random scale of mean square 1.
    """
    rng = np.random.default_rng(seed)
    x, noise = rng.standard_normal((2, rows, len(ratios)))
    scale = np.exp(bond * rng.standard_normal((rows, 1)) - bond**2)
    return x, x + noise * np.sqrt(ratios) * scale


def test_moments_and_their_errors():
    """Errors are those by which estimates scatter over many draws, also when anchors are both."""
    dim, draws = 3, 150
    for anchors in ("first", "both"):
        found, told = [], []
        for seed in range(draws):
            rng = np.random.default_rng(seed)
            x = rng.exponential(size=(200, dim))
            y = x + rng.standard_normal((200, dim)) * [0.5, 1.0, 2.0]
            taken = moments.roles(x, y, anchors)
            found.append(np.stack(moments.moments(taken)))
            told.append(np.stack(moments.standard_errors(taken, moments.moments(taken))))
        scatter = np.std(found, axis=0)
        assert np.all(
            np.abs(np.mean(told, axis=0) / scatter - 1) < 0.25
        )  # 4 / sqrt(2 draws) + bias
    x, y = pairs(200, [0.5, 1.0])
    by_hand = np.cov(x.T, bias=True)
    assert_close(moments.moments(moments.roles(x, y, "first")).data, by_hand, size=200)


def test_a_shared_shift_of_all_positives_costs_like_noise():
    x, y = pairs(500, [0.5, 0.5])
    shifted = moments.moments(moments.roles(x, y + np.array([0.0, 3.0]), "first")).noise
    plain = moments.moments(moments.roles(x, y, "first")).noise
    assert abs(shifted[1, 1] - plain[1, 1] - 9.0) < 6.0 * 5 * np.sqrt(0.5 / 500)


def test_ratios_are_the_generalised_eigenvalues():
    data, noise = random_covariance(6, 1), 3 * random_covariance(6, 2)
    found = directions.directions(moments.Moments(data, noise, 0 * data), np.eye(6))
    expected = scipy.linalg.eigh(noise, data, eigvals_only=True)[::-1]
    assert_close(found.ratios, expected, size=6 * 1000)
    assert np.sum(found.ratios >= 2) == population.collapsed_dimensions(data, noise)
    v = found.vectors
    assert_close(v.T @ data @ v, np.eye(6), size=6 * 1000)
    assert_close(v.T @ noise @ v, np.diag(expected), size=6 * 1000)


def test_directions_without_variance():
    """A direction that only noise uses is lost for certain; one that nothing uses is none. What of
    the noise is correlated with it can be cancelled by it, so the ratio is a Schur complement's.
    """
    data, noise = np.diag([1.0, 0.0, 0.0]), np.array([[1.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0, 0, 0]])
    found = directions.directions(moments.Moments(data, noise, 0 * data), np.eye(3))
    assert found.ratios.tolist() == [np.inf, pytest.approx(1.5 - 0.5**2 / 0.5)]


def test_extreme_directions_are_not_believed_where_they_were_found():
    """Two draws that share nothing: every ratio is 2. On all rows they spread far around it, on
    unseen ones 95 % of the intervals hold it.
    """
    covered, spread = [], []
    for seed in range(8):
        x, y = np.random.default_rng(seed).standard_normal((2, 400, 20))
        taken = moments.roles(x, y, "both")
        on_all = directions.directions(moments.moments(taken), np.eye(20)).ratios
        found = directions.unseen(taken, np.eye(20), 20, 300, np.random.default_rng(seed))
        low, high = np.percentile(found.samples, (2.5, 97.5), axis=0)
        covered.append((low < 2) & (high > 2))
        spread.append(np.ptp(on_all))
        outside = (on_all < low) | (on_all > high)
        assert np.mean(outside) > 0.4
    assert 0.88 <= np.mean(covered) <= 0.99  # 160 intervals, not independent
    assert np.min(spread) > 0.5


def test_the_spread_that_the_docs_tell():
    x, y = np.random.default_rng(0).standard_normal((2, 1797, 64))
    on_all = directions.directions(moments.moments(moments.roles(x, y, "both")), np.eye(64)).ratios
    told = f"1,797 such pairs in 64 dimensions show {on_all[-1]:.1f} to {on_all[0]:.1f}"
    assert told in " ".join((ROOT / "docs" / "views.md").read_text().split())


@pytest.mark.parametrize("clean", [0, 8])
def test_pairs_settle_where_the_loss_of_pairs_is_smallest(clean):
    """Batches of two: the closed form is the minimum; beside clean directions that of late time."""
    ratios, covariances = np.array([1.7, 1.0, 0.4]), np.array([-0.85, 0.1, 0.0])
    if clean:
        found = strengths.settled(np.append([1.0] * 4, [0.0] * clean), np.zeros(4 + clean), 64)
        late = late_time.settled(1.0, 1.0, clean_modes=clean, noisy_modes=4)
        assert_close(found.strengths[0], np.float64(late), rtol=1e-5)
        assert np.all(found.strengths[4:] == np.inf)
        return
    m = strengths.of_pairs(ratios, covariances)
    groups = [Modes.of(1.0, r, c, 1) for r, c in zip(ratios, covariances, strict=True)]

    def slopes(scale):
        return late_time.pair_average(list(zip(groups, scale * m, strict=True)))[1]

    assert np.max(np.abs(slopes(1.0))) < 1e-9
    assert np.max(np.abs(slopes(1.01))) > 1e-4
    assert_close(strengths.settled(ratios, covariances, 2).strengths, m)


@pytest.mark.parametrize("batch_size", [8, 128])
def test_settled_strengths_stop_the_flow_of_the_exact_theory(batch_size):
    """One group for each direction, where `settled` interpolates between groups."""
    ratios = np.geomspace(1.95, 0.3, 27)
    found = strengths.settled(ratios, -ratios / 2, batch_size)
    groups = [Modes.of(1.0, r, -r / 2, 1) for r in ratios]

    def balance(m):  # growth over what either side of it is, about
        return finite_batch.predict(groups, m, batch_size=batch_size).contrast / ratios

    alpha = finite_batch.predict(groups, found.strengths, batch_size=batch_size).alpha_ii
    assert np.max(np.abs(balance(found.strengths))) < 0.02 * (1 - alpha)
    assert np.max(np.abs(balance(1.1 * found.strengths))) > 0.04 * (1 - alpha)


def test_infinite_batches_settle_at_the_population_fixed_point():
    found = strengths.settled(np.array([1.0, 2.5]), np.zeros(2), 2**22)
    assert found.strengths[1] == 0
    assert_close(found.strengths[0], np.asarray(population.fixed_point(1.0, 1.0)), rtol=2e-3)


def test_own_ratios_of_gaussian_pairs_are_the_ratios():
    ratios = np.array([2.5, 1.5, 1.0, 0.5, 0.3])
    x, y = pairs(6000, ratios)
    taken = moments.roles(x, y, "first")
    at = directions.directions(moments.moments(taken), np.eye(5))
    m = strengths.settled(at.ratios, at.covariances, 64).strengths
    own = measured.own_ratios(taken, at.vectors, m, 64, np.random.default_rng(1))
    assert np.all(np.abs(own.ratios - at.ratios) < 4.5 * own.errors)
    assert np.all(own.errors < 0.05 * at.ratios)


def test_own_ratios_see_that_rows_which_are_hard_are_noisier():
    x, y = pairs(6000, [1.7, *[0.5] * 7], bond=0.6)
    taken = moments.roles(x, y, "first")
    at = directions.directions(moments.moments(taken), np.eye(8))
    m = strengths.settled(at.ratios, at.covariances, 64).strengths
    own = measured.own_ratios(taken, at.vectors, m, 64, np.random.default_rng(1))
    assert own.ratios[0] - at.ratios[0] > 4.5 * own.errors[0]
    assert own.hard_noise[0] > 1.2
    assert abs(own.hard_negatives[0] - 1) < 0.05
    parts = at.ratios * own.hard_noise / own.hard_negatives  # a sample's, so to a per cent or two
    assert np.all(np.abs(own.ratios / parts - 1) < 0.1)


def test_own_ratios_weigh_by_the_softmax_of_the_other_directions():
    """One batch: both sums are Lemma 2's, with the direction taken out of the map."""
    x, y = pairs(12, [1.0, 0.7, 0.4], seed=3)
    m = np.array([0.0, 0.8, 1.7])
    taken = moments.roles(x, y, "first")
    found = measured.own_ratios(taken, np.eye(3), m, 12, np.random.default_rng(0))
    for k in range(3):
        w = np.diag(np.sqrt(np.where(np.arange(3) == k, 0.0, m)))
        push, pull = (np.asarray(c)[k, k] for c in infonce.covariances(w, x, y))
        assert_close(found.ratios[k], np.float64(2 * pull / push), size=1000)


@pytest.mark.parametrize("source", ["pairs", "gaussian", "shuffled"])
def test_training_ends_where_theory_says(source):
    """Gaussian rows: the map trained on them, and on either stand-in, keeps what theory says."""
    ratios = np.array([3.0, 1.2, 0.6, 0.3])
    x, y = pairs(4000, ratios, seed=5)
    taken = moments.roles(x, y, "first")
    at = directions.directions(moments.moments(taken), np.eye(4))
    m = strengths.settled(at.ratios, at.covariances, 32).strengths
    found = trained.trained(
        trained.Coordinates.of(taken, at.vectors, at.ratios),
        batch_size=32,
        seeds=1,
        source=source,
        steps=1500,
    )
    assert found.strengths[0] < trained.LEAST
    assert found.dimensions == 3
    assert np.all(np.abs(found.strengths[1:] / m[1:] - 1) < 0.1)
    assert np.all(np.abs(found.strengths[1:] / (0.5 * m[1:]) - 1) > 0.5)  # the late-time half


def test_one_noisy_view():
    x, y = pairs(3000, [4.0, 2.0, 0.5, 0.2])
    turn = np.linalg.qr(RNG.standard_normal((4, 4)))[0] * [1.0, 2.0, 3.0, 4.0]
    found = diagnose.views(x @ turn, y @ turn, batch_size=32)
    assert found.anchors == "first"
    assert found.outcomes.tolist() == ["lost", "too close to tell", "kept", "kept"]
    cosine = np.abs(turn @ found.directions.vectors)  # back in the coordinates of `pairs`
    assert np.argmax(cosine, axis=0).tolist() == [0, 1, 2, 3]
    exchanged = diagnose.views(y @ turn, x @ turn, batch_size=32, anchors="first")
    assert exchanged.counts["lost"] == 0  # noise counts as data if anchors carry it


def test_two_draws_of_one_augmentation():
    rng = np.random.default_rng(1)
    shared = rng.standard_normal((3000, 3)) * [1.0, 0.3, 0.0]
    x, y = shared + 0.5 * rng.standard_normal((2, 3000, 3))
    found = diagnose.views(x, y, batch_size=32)
    assert found.anchors == "both"
    assert found.outcomes.tolist() == ["too close to tell", "kept", "kept"]
    expected = 2 * 0.25 / (np.array([0.0, 0.09, 1.0]) + 0.25)
    assert np.all((found.unseen_interval[0] < expected) & (expected < found.unseen_interval[1]))
    assert_close(found.directions.covariances, -found.ratios / 2, rtol=1e-3)  # and the mean shift
    assert any("two draws" in reason for reason in found.reasons)


def test_a_miss_of_theory_makes_the_verdict_careful():
    """A ratio of 1.7 is kept; with noise that comes in bursts the pairs themselves say lost, and
    so the verdict does not tell.
    """
    ratios = np.array([1.7, *[0.5] * 7])
    options: dict[str, Any] = {"batch_size": 64, "bootstrap": 200}
    calm, bursts = (diagnose.views(*pairs(6000, ratios, bond=b), **options) for b in (0.0, 0.6))
    assert calm.outcomes[0] == "kept"
    assert bursts.unseen_interval[1, 0] < 2 < bursts.own.ratios[0]
    assert bursts.outcomes[0] == "too close to tell"
    assert any("not Gaussian" in reason for reason in bursts.reasons)
    assert not any("not Gaussian" in reason for reason in calm.reasons)


@pytest.fixture(scope="module")
def images():
    x, y = pairs(600, np.linspace(3.0, 0.2, 12))
    return diagnose.views(
        x.reshape(-1, 2, 2, 3), y.reshape(-1, 2, 2, 3), batch_size=16, train=1, bootstrap=100
    )


def test_table_and_dictionary(images):
    assert images.settings.image_shape == (2, 2, 3)
    assert images.table().splitlines()[-1] == f"verdict: {images.verdict}"
    assert "maps trained on just these pairs keep" in images.table()
    told = json.loads(json.dumps(images.to_dict()))
    assert told["outcome"] == images.outcomes.tolist()
    assert len(told["trained"]) == 12
    assert told["ratio"] == images.ratios.tolist()


def test_the_picture_shows_directions_as_images(images):
    drawn = images.figure()
    drawn.canvas.draw()
    pictures = [axis for axis in drawn.axes if axis.images]
    assert len(pictures) == 16
    shown = pictures[0].images[0].get_array()
    pattern = images.patterns[:, 0].reshape(2, 2, 3)
    assert_close(shown, 0.5 + 0.5 * pattern / np.abs(pattern).max(), rtol=1e-6)
    assert_close(
        images.patterns[:, 0] * images.ratios[0],
        images.moments.noise @ images.directions.vectors[:, 0],
        rtol=1e-6,
    )


def test_components_are_those_of_the_anchors():
    x, y = pairs(400, [0.5] * 6)
    scale = np.array([5.0, 4.0, 3.0, 0.1, 0.1, 0.1])
    found = diagnose.views(x * scale, y * scale, batch_size=16, components=3)
    assert len(found.ratios) == 3
    assert np.max(np.abs(found.directions.vectors[3:] * scale[3:, None])) < 0.05


BAD = {
    "shapes": ((np.ones((9, 2)), np.ones((9, 3))), {}, r"shapes \(9, 2\) and \(9, 3\)"),
    "few": ((np.eye(5), np.eye(5)), {}, "5 pairs are too few for 5 directions"),
    "vector": ((np.ones(9), np.ones(9)), {}, r"x of shape \(9,\)"),
    "nan": ((np.full((9, 2), np.nan), np.ones((9, 2))), {}, r"x holds nan at \(0, 0\)"),
    "constant": ((np.ones((200, 2)), np.ones((200, 2))), {}, "the views are constant"),
    "batch": ((np.ones((9, 2)), np.ones((9, 2))), {}, "--batch-size 128 is not allowed"),
    "image": ((np.ones((200, 6)),) * 2, {"image_shape": (2, 2)}, "the 6 values of a row"),
    "anchors": ((np.ones((200, 6)),) * 2, {"anchors": "second"}, "one of auto, first, both"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pairs_are_one_sentence_each(name):
    arrays, options, what = BAD[name]
    with pytest.raises(BadInput, match=what) as raised:
        diagnose.views(*arrays, **options)
    assert "\n" not in str(raised.value)


def test_the_command(tmp_path, capsys):
    x, y = pairs(800, [3.0, 1.0, 0.5, 0.2])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    np.savez(tmp_path / "both.npz", a=x, b=y)
    words = ["--bootstrap", "200", "--batch-size", "16", "--out", str(tmp_path / "out")]
    files = [str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    command.main(["views", *files, "--image-shape", "2", "2", *words])
    first = capsys.readouterr().out
    assert first.splitlines()[-1].startswith("verdict: of 4 directions 1 would be lost")
    assert (tmp_path / "out" / "views.png").stat().st_size > 10_000
    command.main(["views", str(tmp_path / "both.npz"), "--names", "a", "b", *words])
    assert capsys.readouterr().out == first
    command.main(["views", *files, "--json", *words])
    told = json.loads(capsys.readouterr().out)
    assert told["outcome"].count("lost") == 1
    assert told["verdict"] in first
    command.main(["views", *files, "--csv", *words])
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [each["outcome"] for each in lines] == told["outcome"]
    assert [float(each["ratio"]) for each in lines] == told["ratio"]
    bad = str(tmp_path / "bad")
    for wrong in (
        [],
        files[:1],
        [*files, "--json", "--csv"],
        [*files, "--image-shape", "3"],
        [*files, "--batch-size", "1"],
    ):
        with pytest.raises(BadInput) as raised:
            command.main(["views", *wrong, "--out", bad])
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "bad").exists()


def test_the_study_in_the_docs_is_the_one_measured():
    sys.path.insert(0, str(ROOT))
    from benchmarks import views as study

    records = json.loads(study.RESULTS.read_text())
    assert f"{study.BEGIN}\n{study.render(records)}\n{study.END}" in study.PAGE.read_text()
