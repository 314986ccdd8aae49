"""The bench of losses: what is trained, what is predicted of it, and how it is told."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from helpers import ROOT, assert_close

import linsim
from linsim.studies import losses
from linsim.studies.losses import LossesSettings, effects, summary, table, theory
from linsim.studies.losses.runs import chosen, run_of
from linsim.theory import cosine, noncontrastive, redundancy
from linsim.training.loss import Cosine
from linsim.training.objectives import Plain

SMALL = {"dim": 4, "noisy_dims": 2, "steps": 60, "seeds": 2, "batch_size": [16], "noise": [1.5]}


@pytest.fixture(scope="module")
def found():
    names = ["vicreg", "jepa", "ntxent"]
    return linsim.run("losses", loss=names, weight_decay=[0.0, 0.1], learning_rate=0.02, **SMALL)


def test_runs_are_beside_their_theory(found):
    one = found.sel(noise=1.5, batch_size=16, depth=1)
    for name in ("vicreg", "jepa"):
        measured, stated = (
            one[source].sel(objective=name).mean("seed").values
            for source in ("embedding_spectrum", "theory_embedding_spectrum")
        )
        assert_close(measured, stated, rtol=0.15)
        assert np.abs(np.log(stated[..., -1, 0] / stated[..., 0, 0])).max() > 0.2
    assert np.isnan(one["theory_embedding_spectrum"].sel(objective="ntxent")).all()
    assert (one["theory_kind"].sel(objective="ntxent") == -1).all()


def test_the_table_has_a_row_for_every_setting_and_a_verdict(found):
    told = table.tell(found).splitlines()
    rows = [line for line in told if line.split()[:1] == ["jepa"]]
    assert len(rows) == 2
    assert "nothing is known of 2" in told[-1]
    assert " weight decay" in told[2]
    assert "batch size 16" in told[0]
    assert linsim.study("losses").figure(found).axes


def test_what_one_change_does_is_told_where_several_settings_vary(found):
    rows = table.rows(found)
    assert effects.lines(found, rows, table.AXES[1:]) == []
    wide = xr.concat([found, found.assign_coords(batch_size=[64])], "batch_size")
    assert isinstance(wide, xr.Dataset)
    rows = table.rows(wide)
    for row in rows:
        row["kind"] = "complete" if row["weight_decay"] else "none"
    told = effects.lines(wide, rows, table.AXES[1:])
    (jepa,) = (line.split() for line in told if line.startswith("effect on jepa"))
    share = next(row["noisy_by_clean"] for row in rows if row["objective"] == "jepa")
    assert jepa[3:] == [f"{share:.2g}", f"{share:.2g}", "all", "lost"]
    assert "batch size 16, weight decay 0" in told[0]
    assert "differs: jepa at batch size 16, weight decay 0.1: complete, predicted none" in told


def test_what_the_noise_of_minibatches_adds_is_told(found):
    rows = {(row["objective"], row["weight_decay"]): row for row in table.rows(found)}
    assert 0.1 < abs(rows["jepa", 0.0]["clean_by_noise"]) < 20
    assert rows["vicreg", 0.0]["clean_by_noise"] == 0
    assert np.isnan(rows["ntxent", 0.0]["clean_by_noise"])


@pytest.mark.slow
def test_depths_are_an_axis_like_any_other():
    small = SMALL | {"steps": 2, "seeds": 1}
    found = linsim.run("losses", loss=["isoloss"], depth=[1, 2], **small)
    assert found["embedding_spectrum"].sizes["depth"] == 2
    spectrum = found["embedding_spectrum"].isel(time=0).squeeze()
    np.testing.assert_allclose(spectrum, 0.3**2, rtol=1e-5)  # the same product at every depth


def a_run(name, **fields):
    settings = LossesSettings(loss=(name,))
    run = run_of(settings, name, 1.0, 128, 0.0, 1)
    return replace(run, **fields)


def test_each_loss_settles_where_its_theory_says():
    a, base = 1 + 1.0, 1.25
    ends = theory.settled(a_run("spectral"))
    assert_close(np.array(ends), np.array([1 / base**2, 1 / a**2]), rtol=1e-9)
    assert_close(np.array(theory.settled(a_run("jepa", depth=2))), np.array([base, a]) ** -4.0)
    assert_close(np.array(theory.settled(a_run("mae"))), 1 / np.array([base, a]))
    decayed = theory.settled(a_run("jepa", weight_decay=0.1))
    stated = noncontrastive.predictor_fixed_point(1.0, np.array([0.25, 1.0]), 0.1) ** 2
    assert_close(np.array(decayed), np.asarray(stated))
    assert theory.settled(a_run("byol")) == theory.settled(a_run("jepa"))
    for name in ("directpred", "isoloss"):
        assert_close(np.array(theory.settled(a_run(name))), np.array([base, a]) ** -3.0)
    ends = theory.settled(a_run("isoloss", weight_decay=0.4))
    assert_close(np.array(ends), 0.6**2 / np.array([base, a]) ** 3)
    direct = theory.settled(a_run("directpred", weight_decay=0.1))
    assert_close(np.array(direct), np.asarray(stated) / np.array([base, a]))
    assert np.isnan(theory.settled(a_run("dino"))).all()
    assert theory.settled(a_run("alignment")) == (0.0, 0.0)
    assert np.isnan(theory.settled(a_run("ntxent"))).all()
    assert np.isnan(theory.settled(a_run("mae", weight_decay=0.1))).all()


def test_thresholds_are_where_the_noisy_modes_vanish():
    limit = theory.threshold(a_run("barlow-twins"))
    r, weight = 0.8, 0.0051
    other = r - weight * r**2 / (0.5 * (1 - (1 - weight) * r))
    assert_close(limit, np.sqrt(1 / other - 1), rtol=2e-3)
    limit = theory.threshold(a_run("vicreg"))
    ratios = lambda s: np.repeat([0.5 / 1.25, 2 * s**2 / (1 + s**2)], 8)
    at = lambda s: redundancy.vicreg_optimum(ratios(s), batch_size=128)[-1]
    assert at(0.99 * limit) > 0 == at(1.01 * limit)
    limit = theory.threshold(a_run("ntxent"))
    assert_close(1 + limit**2, cosine.threshold(8, 0.8, 0.5))
    assert theory.threshold(a_run("alignment")) == 0
    assert theory.threshold(a_run("spectral")) == np.inf
    assert theory.threshold(a_run("jepa", depth=3)) == np.inf
    assert np.isnan(theory.threshold(a_run("ntxent", views="one")))
    assert_close(theory.threshold(a_run("infonce", views="one")), np.sqrt(2), rtol=2e-3)


def test_temperatures_make_losses_of_their_own():
    settings = LossesSettings(loss=("ntxent", "jepa"), temperature=(0.1, 0.5))
    assert list(chosen(settings)) == ["ntxent 0.1", "ntxent 0.5", "jepa"]
    assert chosen(settings)["ntxent 0.1"] == Plain(of=Cosine(temperature=0.1))


def test_every_loss_is_on_the_bench():
    names = losses.PRESETS["bench"].settings.loss
    assert set(chosen(LossesSettings())) == set(names)


def test_the_docs_have_the_thresholds_of_the_theory():
    page = (ROOT / "docs" / "losses.md").read_text()
    written = page.partition("<!-- thresholds -->\n")[2].partition("<!-- /thresholds -->")[0]
    assert written.strip() == summary.markdown()
