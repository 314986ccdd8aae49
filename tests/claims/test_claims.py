"""The ledger: every claim gives its recorded verdict, every counter-check is rejected, and the
command says so.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest
from helpers import ROOT

from linsim.claims import catalogue, command, ledger, page
from linsim.claims.ledger import Assumption, Claim, Evidence, Outcome, Tolerance, examine, verdict
from linsim.config import CannotWrite

LEDGER = {claim.id: claim for claim in catalogue.claims()}
QUICK = [name for name, claim in LEDGER.items() if not claim.slow]
LONG = (
    "C18",
    "D01",
    "L05",
    "L08",
    "L09",
    "L11",
    "L15",
    "L17",
    "L19",
    "L21",
    "S16",
)  # more than five seconds each
TOLERANCE = Tolerance(0.1, "by construction")
MET, UNMET = Assumption("what", 1.0, "> 0", True), Assumption("what", -1.0, "> 0", False)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in QUICK]
)
def test_claim_is_as_recorded_and_a_wrong_formula_is_rejected(name):
    outcome = examine(LEDGER[name], 1)
    assert outcome.found == LEDGER[name].recorded, outcome.evidence
    assert not outcome.broken, outcome.counter


def test_other_seeds_are_other_runs():
    first, other = (examine(LEDGER["B04"], 1, seed).evidence[0].residual for seed in (0, 1000))
    assert first != other
    assert examine(LEDGER["B04"], 1).evidence[0].residual == first
    assert other == LEDGER["B04"].check(1000, 0.0).residual


def test_the_ledger_holds_every_statement_of_the_paper():
    assert {f"C{number:02}" for number in range(1, 30)} <= set(LEDGER)
    for claim in LEDGER.values():
        assert claim.statement.endswith("."), claim.id
        assert claim.tolerance.origin, claim.id
        assert ("{}" in claim.error) == (claim.by is not None), claim.id
        assert bool(claim.erratum) == (claim.recorded == "holds as corrected"), claim.id
        if claim.recorded in ("holds only under conditions", "transient"):
            assert claim.conditions, claim.id


def test_evidence_that_is_kept_gives_the_same_outcome():
    outcome = Outcome(
        LEDGER["C04"],
        (Evidence(1.23456e-16, printed=2.0, undecided=True), Evidence(9.0, assumptions=(UNMET,))),
        (Evidence(math.inf), Evidence(math.nan)),
    )
    record = json.loads(json.dumps(command.record([outcome])))
    (back,) = page.restored(record, [LEDGER["C04"]])
    assert back.evidence == outcome.evidence
    (small,) = page.restored(json.loads(json.dumps(page.kept(record))), [LEDGER["C04"]])
    assert small.evidence[0] == Evidence(1.23e-16, printed=2.0, undecided=True)
    assert not small.evidence[1].counts
    assert (small.found, small.worst) == (outcome.found, 1.23e-16)
    assert small.counter[0].residual == math.inf
    assert small.undefined


def test_a_row_holds_nothing_that_markdown_would_take():
    made_up = made(
        lambda *_: Evidence(0.0), where="docs/theory.md, Eq. (phi-psi)", conditions="|W_1| > m*"
    )
    row = page.row(Outcome(made_up, (Evidence(1e-16),), (Evidence(0.5),)))
    assert row == (
        "| **X01** [theory](theory.md), {eq}`phi-psi` | Nothing. "
        "| **exact**: \\|W\\_1\\| > m\\* | 1e-16 of 0.1: by construction "
        "| something 10 % too large: 0.5 |"
    )


@pytest.mark.parametrize(
    ("evidence", "numerical", "expected"),
    [
        ([Evidence(0.0), Evidence(0.1)], False, "holds"),
        ([Evidence(0.0), Evidence(0.1)], True, "exact"),
        ([Evidence(0.0), Evidence(0.11)], True, "fails"),  # the worst seed decides
        ([Evidence(math.nan)], True, "fails"),
        ([Evidence(math.inf)], False, "fails"),
        ([Evidence(0.0, printed=0.2)], True, "holds as corrected"),
        (
            [Evidence(0.0, printed=0.2), Evidence(0.0, printed=0.1)],
            True,
            "exact",
        ),  # right as printed in one seed
        ([Evidence(0.2, printed=0.2)], True, "fails"),
        ([Evidence(0.0, outside=0.2)], True, "holds only under conditions"),
        ([Evidence(0.0, outside=0.2), Evidence(0.0, outside=0.0)], False, "holds"),
        ([Evidence(0.0, later=0.2)], False, "transient"),
        ([Evidence(0.0, later=0.1)], False, "holds"),
        ([Evidence(0.0, printed=0.2, outside=0.2, later=0.2)], False, "holds as corrected"),
        ([Evidence(0.0, outside=0.2, later=0.2)], False, "holds only under conditions"),
        ([Evidence(0.0, assumptions=(MET, UNMET))], True, "vacuous"),
        (
            [Evidence(9.0, assumptions=(UNMET,)), Evidence(0.0, assumptions=(MET,))],
            True,
            "exact",
        ),  # only one seed counts
        ([], True, "vacuous"),
        ([Evidence(0.2, undecided=True)], False, "within noise"),
        ([Evidence(0.0), Evidence(0.2, undecided=True)], False, "within noise"),
        ([Evidence(0.2), Evidence(0.2, undecided=True)], False, "fails"),
        ([Evidence(0.1, undecided=True)], False, "holds"),  # however close
    ],
)
def test_verdict_follows_from_the_evidence(evidence, numerical, expected):
    assert verdict(TOLERANCE._replace(numerical=numerical), evidence) == expected


def made(check, **fields) -> Claim:
    """A claim around a check, recorded as exact."""
    plain: dict[str, Any] = {
        "id": "X01",
        "section": "4",
        "where": "Lemma 0",
        "statement": "Nothing.",
        "recorded": "exact",
        "error": "something {} too large",
        "by": 0.1,
    }
    return Claim(
        **plain | {"tolerance": TOLERANCE._replace(numerical=True), "check": check} | fields
    )


@pytest.mark.parametrize("name", ["residual", "printed", "outside", "later"])
def test_an_undefined_number_is_no_verdict(name):
    """Neither of the statement nor of its counter-check."""
    fine, wrong = Evidence(0.0), Evidence(1.0)
    assert examine(made(lambda _, broken: wrong if broken else fine), 1).as_recorded
    for where in (False, True):

        def check(_, broken, where=where):
            found = wrong if broken else fine
            return found._replace(**{name: math.nan}) if bool(broken) == where else found

        outcome = examine(made(check), 1)
        assert outcome.broken
        assert not outcome.as_recorded
        assert "X01 is broken: a number is undefined" in command.table([outcome])


VACUOUS = Evidence(1.0, assumptions=(UNMET,))


@pytest.mark.parametrize(
    ("counter", "rejected_as", "broken"),
    [
        ([Evidence(1.0), Evidence(1.0)], "fails", False),
        ([Evidence(1.0), Evidence(0.0)], "fails", True),  # the wrong formula passes in one seed
        ([Evidence(1.0), VACUOUS], "fails", False),  # a seed that does not count
        ([VACUOUS, VACUOUS], "fails", True),  # nothing was measured
        ([VACUOUS, VACUOUS], "vacuous", False),
        ([VACUOUS, Evidence(1.0)], "vacuous", True),
    ],
)
def test_a_check_whose_counter_check_passes_is_broken(counter, rejected_as, broken):
    claim = made(
        lambda seed, wrong: counter[seed] if wrong else Evidence(0.0), rejected_as=rejected_as
    )
    outcome = examine(claim, 2)
    assert outcome.found == "exact"
    assert outcome.broken == broken
    assert outcome.as_recorded != broken
    assert ("is broken" in command.table([outcome])) == broken


def test_a_changed_verdict_is_named_old_and_new():
    outcome = Outcome(made(lambda seed, wrong: Evidence(1.0)), (Evidence(1.0),), (Evidence(1.0),))
    lines = command.table([outcome]).splitlines()
    assert lines[-2] == "X01 changed: recorded 'exact', found 'fails'"
    assert lines[-1] == "verdict: 0 of 1 claims as recorded"


def test_what_is_within_noise_is_not_rejected():
    """A counter-check must lose, not come close to it."""
    claim = made(lambda _, wrong: Evidence(0.2 if wrong else 0.0, undecided=wrong > 0))
    assert examine(claim, 2).broken


@pytest.mark.parametrize(
    ("noticed", "expected"), [(0.0003, 0.0005), (1e-9, 1e-6), (0.7, 1.0), (2.0, math.nan)]
)
def test_power_is_the_smallest_error_that_is_rejected_in_every_seed(noticed, expected):
    """The second seed needs an error of this size, the first a smaller one."""

    def check(seed, wrong):
        return Evidence(1.0 if wrong >= noticed * (0.1 if seed == 3 else 1.0) else 0.0)

    found = ledger.smallest_error(made(check), seeds=2, first=3)
    assert found == expected or (math.isnan(found) and math.isnan(expected))
    assert math.isnan(ledger.smallest_error(made(check, by=None), seeds=2, first=3))


def test_the_counter_check_has_the_size_that_is_recorded():
    claim = made(lambda _, wrong: Evidence(wrong), by=0.02)
    assert examine(claim, 1).counter[0].residual == 0.02
    assert claim.counter == "something 2 % too large"
    without = made(lambda _, wrong: Evidence(wrong), by=None, error="U2 for V2")
    assert examine(without, 1).counter[0].residual == 1.0
    assert without.counter == "U2 for V2"


def test_tolerances_grow_with_what_is_summed():
    assert ledger.rounding(5).value == 320 * sys.float_info.epsilon
    assert ledger.solver(1e-10).value == pytest.approx(1e-7)
    assert ledger.rounding(5).numerical
    assert ledger.solver(1e-10).numerical
    assert not Tolerance(0.1, "by construction").numerical
    assert 0 < ledger.COUNT.value < 1


def test_the_worst_residual_is_the_largest_that_counts():
    def outcome(*residuals):
        evidence = [Evidence(each) for each in residuals]
        unmet = Evidence(9.0, assumptions=(UNMET,))
        return Outcome(made(lambda *_: Evidence(0.0)), (*evidence, unmet), (*evidence, unmet))

    assert outcome(0.3, 0.1).worst == 0.3
    assert outcome(0.3, 0.1).least_wrong == 0.1
    assert math.isnan(outcome(0.3, math.nan).worst)
    assert math.isnan(outcome().worst)
    assert math.isnan(outcome().least_wrong)


def test_an_id_is_entered_once():
    with pytest.raises(ValueError, match="C01 is entered twice"):
        ledger.claim("C01", "4", "Lemma 1", tolerance=TOLERANCE, recorded="exact", error="none")(
            lambda seed, wrong: Evidence(0.0)
        )


def verify(*flags):
    """Run the command in its own process. Returns: CompletedProcess."""
    words = [sys.executable, "-m", "linsim", "verify", *map(str, flags)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)


def test_command_checks_what_was_asked_for_and_writes_it_down(tmp_path):
    """Processes take one claim after the other, and the order is that of the words."""
    file = tmp_path / "ledger.json"
    done = verify(
        "c04",
        "C13",
        "P12",
        "P01",
        "p15",
        "--section",
        "new",
        "--seeds",
        "2",
        "--json",
        file,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "verdict: 3 of 3 claims as recorded"
    assert [line.split()[0] for line in lines[1:4]] == ["P12", "P01", "P15"]
    written = json.loads(file.read_text())
    assert [claim["id"] for claim in written["claims"]] == ["P12", "P01", "P15"]
    first = written["claims"][0]
    assert first["recorded"] == first["found"] == "exact"
    assert first["tolerance"]["origin"].startswith("float64 rounding")
    assert [seed["residual"] < first["tolerance"]["value"] for seed in first["seeds"]] == [
        True,
        True,
    ]
    assert all(
        seed["residual"] > first["tolerance"]["value"] for seed in first["counter_check"]["seeds"]
    )
    assert "jax" in written["versions"]
    assert list(tmp_path.iterdir()) == [file]


def test_command_ends_with_1_when_a_verdict_has_changed(monkeypatch, capsys):
    changed = dataclasses.replace(LEDGER["C04"], recorded="fails")
    monkeypatch.setitem(ledger.LEDGER, "C04", changed)
    monkeypatch.setattr(command, "configure_jax", lambda **_: None)
    with pytest.raises(SystemExit) as ended:
        command.main(["C04", "--seeds", "1"])
    assert ended.value.code == 1
    assert "C04 changed: recorded 'fails', found 'exact'" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_prints_the_power_of_each_check(monkeypatch, capsys):
    monkeypatch.setattr(command, "configure_jax", lambda **_: None)
    with pytest.raises(SystemExit):
        command.main(["C04", "D01", "--seeds", "1", "--power"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split("  ")[0] == "id"
    assert lines[-2].split()[:5] == ["C04", "0.0001", "%", "0.0001", "%"]
    assert lines[-2].endswith("Σ̂1 by so much too small")
    assert lines[-1].split()[:3] == ["D01", "-", "-"]


def test_numbers_that_json_does_not_know_become_words():
    assumption = Assumption("what", math.inf, "> 0", True)
    plain = command.plain(Evidence(math.nan, printed=-math.inf, assumptions=(assumption,)))
    assert json.loads(json.dumps(plain, allow_nan=False))["residual"] == "nan"
    assert plain["printed"] == "-inf"
    assert plain["outside"] is None
    assert plain["assumptions"][0]["value"] == "inf"


def test_a_file_that_cannot_be_written_in_the_end_is_named(tmp_path):
    config = command.VerifySettings(json=tmp_path / "gone" / "deep" / "ledger.json")
    with pytest.raises(CannotWrite, match=r"ledger\.json"):
        command.save([], config)


BAD = [
    (["C99"], "claim C99", "C01, C02"),
    (["--seeds", "0"], "--seeds 0", "at least 1"),
    (["--section", "7"], "'7' for argument '--section'", "Expected one of"),
    (["C01", "--section", "5"], "--section 5", "C01"),
    (["--json", "/proc/none/ledger.json"], "--json /proc/none/ledger.json", "written"),
    (["--json", "."], "--json .", "a file"),
]


@pytest.mark.parametrize(("flags", "what", "allowed"), BAD)
def test_bad_usage_is_one_sentence(flags, what, allowed):
    done = verify(*flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert what in done.stderr
    assert allowed in done.stderr


def test_slow_claims_ask_for_all(monkeypatch):
    monkeypatch.setitem(ledger.LEDGER, "C04", dataclasses.replace(LEDGER["C04"], slow=True))
    with pytest.raises(ValueError, match="C04 is not allowed without --all"):
        command.chosen(command.VerifySettings(ids=("C04",)))
    assert "C04" not in {claim.id for claim in command.chosen(command.VerifySettings())}
    assert "C04" in {claim.id for claim in command.chosen(command.VerifySettings(all=True))}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["verify", "--help"],
        ["verify", "--seeds", "0"],
        ["verify", "--nosie"],
        ["refute"],
    ],
)
def test_help_and_bad_flags_load_no_numerical_library(words):
    code = (
        "import sys, runpy\nsys.argv = ['linsim', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('linsim', run_name='__main__')\n"
        "except SystemExit as end:\n    print('code', end.code)\n"
        "print('heavy:', {'jax', 'numpy', 'matplotlib', 'xarray', 'scipy'} & set(sys.modules))"
    )
    environment = os.environ | {"COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert "heavy: set()" in done.stdout
    if "--help" in words:
        assert "verify" in done.stdout
    else:
        assert "code 2" in done.stdout
        assert "Traceback" not in done.stderr
