"""README and docs keep their promises: code runs, what it prints is what they show, pictures and
scripts exist, links lead on.
"""

import contextlib
import functools
import html
import importlib.util
import io
import os
import re
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import ROOT

DOCS = ROOT / "docs"


def loaded(path):
    """A module of the docs' own, by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outputs = loaded(DOCS / "outputs.py")
PAGES = outputs.pages()
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
CODE = [
    pytest.param(block[1], block[2], id=f"{page.relative_to(ROOT).with_suffix('')}-{number}")
    for page in PAGES
    for number, block in enumerate(BLOCK.finditer(page.read_text()))
]
EQUATIONS = set(re.findall(r"^ *\$\$ \(([\w-]+)\)$", (DOCS / "theory.md").read_text(), flags=re.M))
NUMBER = re.compile(r"[-+]?\d[\d.]*(?:e[-+]?\d+)?")


@pytest.mark.parametrize(("code", "shown"), CODE)
def test_every_example_runs(code, shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    if shown is not None:
        assert printed.getvalue() == shown


def test_the_own_loss_descends():
    code = BLOCK.findall((DOCS / "extending.md").read_text())[-1][0]
    namespace: dict = {}
    exec(code, namespace)
    assert (namespace["run"].loss[1:] <= namespace["run"].loss[:-1]).all()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_picture_script_link_and_equation_is_there(page):
    text = page.read_text()
    for name in re.findall(r"experiments/[a-z_]+\.py", text):
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target
    for label in re.findall(r"\{eq\}`([^`]+)`", text):
        assert label in EQUATIONS, label
    assert not re.search(r"\$[^`$]*\\operatorname", text), "GitHub does not show this macro"


def test_every_equation_that_docstrings_and_claims_name_is_there():
    named = set()
    for path in (ROOT / "linsim").rglob("*.py"):
        text = re.sub(r"\s+", " ", path.read_text())
        for equations in re.findall(r"docs/theory\.md, Eq\. ((?:\([\w-]+\)(?: and )?)+)", text):
            named |= set(re.findall(r"\(([\w-]+)\)", equations))
        named |= set(re.findall(r'equation\("([\w-]+)"\)', text))
    assert named - EQUATIONS == set()
    assert len(named) > 40


def test_every_section_that_docstrings_name_is_there():
    for path in (ROOT / "linsim").rglob("*.py"):
        text = re.sub(r"\s+", " ", path.read_text())
        for page, name in re.findall(r'docs/(\w+)\.md, "([^"]+)"', text):
            sections = re.findall(r"^## (.*)$", (DOCS / f"{page}.md").read_text(), flags=re.M)
            assert name in sections, f"{path.name} names a section {name!r} of docs/{page}.md"


def test_the_reference_holds_every_module_of_closed_forms():
    from linsim import theory

    listed = re.findall(
        r"automodule:: linsim\.theory\.(\w+)", (DOCS / "reference" / "theory.md").read_text()
    )
    assert sorted(listed) == sorted(theory.__all__)


@pytest.fixture
def conf(monkeypatch):
    """The build's settings, which leave this process as it was."""
    monkeypatch.setattr("sys.path", list(sys.path))
    for name in ("NPROC", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return loaded(DOCS / "conf.py")


def test_the_checks_build_the_docs_as_the_readme_says():
    (command,) = re.findall(r"sphinx-build ([^`]+)`", (ROOT / "README.md").read_text())
    assert re.search(rf"sphinx-build -q -W {command}$", (ROOT / ".ci" / "run").read_text(), re.M)


def test_docstrings_keep_their_formulas_and_signs(conf):
    lines = [
        "One |A| line.",
        "",
        "    |W|_F^2 = *",
        "",
        'Source: this, docs/theory.md, "Two',
        'layers", and docs/theory.md, Eq. (finite) and',
        "(phi-psi).",
    ]
    conf.as_restructured_text(None, "function", "f", None, None, lines)
    assert lines[0] == r"One \|A\| line."
    assert lines[2:5] == ["::", "", "    |W|_F^2 = *"]
    assert "<../theory.html#two-layers>" in lines[-1]
    assert lines[-1].endswith("Eq. :eq:`finite` and :eq:`phi-psi`.")


def test_the_build_tells_what_a_page_would_load_from_elsewhere(conf, tmp_path, monkeypatch):
    logging = pytest.importorskip("sphinx.util.logging")
    told: list[str] = []
    monkeypatch.setattr(
        logging, "getLogger", lambda name: SimpleNamespace(warning=lambda *a: told.append(a[-1]))
    )
    for source in ("https://cdn.example/x.js", "_static/x.js"):
        (tmp_path / "page.html").write_text(
            f'<a href="https://a.example"></a><script src="{source}">'
        )
        conf.nothing_from_elsewhere(SimpleNamespace(outdir=tmp_path), None)
    assert len(told) == 1
    assert "cdn.example" in told[0]


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def tour(name, monkeypatch, tmp_path):
    """What a page of the tour leaves behind, and what it prints."""
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        left = runpy.run_path(str(DOCS / "tour" / f"{name}.py"))
    return left, printed.getvalue()


@pytest.mark.slow
def test_the_tour_collapses_by_strong_augmentation(monkeypatch, tmp_path):
    left, printed = tour("1_strong_augmentation", monkeypatch, tmp_path)
    assert left["collapsed"].tolist() == [0, 8]
    clean, noisy = left["strength"].sel(noise=1.0).values
    np.testing.assert_allclose([clean, noisy], [left["clean"], left["noisy"]], rtol=0.05)
    assert abs(left["settled"][0] / noisy - 1) > 0.5  # infinite batches are no guide
    assert printed.splitlines()[-1].startswith("verdict: agrees in 2 of 2 settings")


@pytest.mark.slow
def test_the_tour_shows_what_decides_alignment(monkeypatch, tmp_path):
    left, _ = tour("2_two_layers", monkeypatch, tmp_path)
    mean = {
        name: np.abs(np.diagonal(a))[: left["grown"][name]].mean()
        for name, a in left["matrices"].items()
    }
    assert mean["small, different noise"] > 0.95
    assert max(mean["small, equal noise"], mean["large, different noise"]) < 0.6
    assert left["angle"] < 10
    assert (left["cosines"] >= left["bound"] - 1e-6).all()


def test_the_tour_finds_each_kind_of_collapse(monkeypatch, tmp_path):
    left, printed = tour("3_your_own_embeddings", monkeypatch, tmp_path)
    assert re.findall(r"(\d+) of 32 dimensions", printed) == ["0", "26", "0"]
    found = re.findall(r"\b(none|dimensional|complete)\b", printed)
    assert found == ["none", "dimensional", "complete"]
    assert left["figure"].axes[0].get_xlabel() == "rank"


def test_shown_outputs_have_the_head_that_the_study_prints():
    """Of a tiny run; all of it is compared in the slow test."""
    import linsim

    tiny = {"steps": 20, "seeds": 2, "dim": 4, "noisy_dims": 2, "batch_size": 16}
    dataset = linsim.run("strong_aug", noise=2.0, dataset_size=64, **tiny)
    table = linsim.study("strong_aug").table(dataset)
    found = [shown for page in PAGES for shown in outputs.outputs(page)]
    heads = [shown for shown in found if shown.command.startswith("run strong_aug")]
    assert len(heads) == 2
    for shown in heads:
        assert head(shown.text) == head(outputs.selected(table, shown.beginnings))


def test_start_here_explains_every_column():
    text = (DOCS / "start.md").read_text()
    (shown,) = outputs.outputs(DOCS / "start.md")
    columns = next(line for line in shown.text.splitlines() if "block" in line)
    for column in re.split(r" {2,}", columns.strip()):
        for name in [column] if f"`{column}`" in text else column.split(" "):
            assert f"`{name}`" in text, name


@pytest.mark.slow
def test_shown_outputs_are_what_the_commands_print():
    """Word for word; the last digits of numbers are the machine's own."""
    for page in PAGES:
        for shown in outputs.outputs(page):
            found = outputs.selected(outputs.printed(shown.command), shown.beginnings)
            assert words(found) == words(shown.text), (page, shown.command)


def words(text: str) -> list[str]:
    """A text with every number as #."""
    return NUMBER.sub("#", text).split()


@functools.cache
def ledger():
    """The module that makes the ledger's page, and the outcomes that are kept, by family."""
    made_by = loaded(DOCS / "ledger.py")
    return made_by, made_by.outcomes()


def test_the_ledger_s_page_shows_the_evidence_that_is_kept():
    """Which gives the recorded verdicts, from checks that reject what they must."""
    made_by, families = ledger()
    for outcome in (each for family in families.values() for each in family):
        assert outcome.as_recorded, outcome.claim.id
        assert len(outcome.evidence) == len(outcome.counter) == 5
    written = (DOCS / "ledger.md").read_text().partition(made_by.BEGIN)[2]
    assert written.partition(made_by.END)[0] == made_by.text(families)


def test_a_claim_without_evidence_is_named(tmp_path, monkeypatch):
    made_by = loaded(DOCS / "ledger.py")
    lines = made_by.KEPT.read_text().splitlines()
    assert '"id": "C02"' in lines[2]
    (tmp_path / "ledger.json").write_text("\n".join(lines[:2] + lines[3:]))
    monkeypatch.setattr(made_by, "KEPT", tmp_path / "ledger.json")
    with pytest.raises(SystemExit, match="no evidence is kept of C02: linsim verify C02 --json"):
        made_by.outcomes()


@pytest.mark.parametrize("letter", "CPSBANLD")
def test_the_ledger_s_pictures_show_it_too(letter):
    """Each claim by its name, with its worst seeds at their places on both sides of the line."""
    made_by, families = ledger()
    assert "".join(families) == "CPSBANLD"
    picture = (DOCS / "_static" / f"ledger_{letter}.svg").read_text()
    known = {outcome.claim.id: outcome for outcome in families[letter]}
    shown = []
    for axis in made_by.picture(families[letter]).axes:
        for row, label in enumerate(axis.get_yticklabels()):
            assert f">{html.escape(label.get_text(), quote=False)}</text>" in picture
            outcome = known[label.get_text()[:3]]
            stated, wrong = (
                [
                    x
                    for line in axis.lines
                    if line.get_color() == look["color"]
                    for x, y in line.get_xydata()
                    if y == row
                ]
                for look in (made_by.AS_STATED, made_by.WRONG)
            )
            unit = outcome.claim.tolerance.value
            lowest = made_by.LOW if unit else -np.inf
            expected = max(outcome.worst / (unit or 1), lowest)
            np.testing.assert_allclose(max(stated), expected, rtol=0.5)
            assert min(wrong) > (1 if unit else 0)
            shown.append(outcome.claim.id)
    assert sorted(shown) == sorted(known)


@pytest.mark.slow
def test_the_evidence_that_is_kept_is_found_again():
    """One seed of each quick claim, to a fifth of residual and tolerance; where the tolerance is
    the arithmetic's own error, to that: a solver's steps follow the last digits.
    """
    from linsim.claims.ledger import RESIDUALS, examine

    for outcome in (each for family in ledger()[1].values() for each in family):
        if not outcome.claim.slow:
            found = examine(outcome.claim, 1)
            share = 1.0 if outcome.claim.tolerance.numerical else 0.2
            for new, old in ((found.evidence, outcome.evidence), (found.counter, outcome.counter)):
                for name in RESIDUALS:
                    measured, kept = getattr(new[0], name), getattr(old[0], name)
                    assert (measured is None) == (kept is None), (outcome.claim.id, name)
                    if kept is not None:
                        within = share * outcome.claim.tolerance.value + 0.2 * abs(kept)
                        assert abs(measured - kept) <= within, (outcome.claim.id, name)


def head(output: str) -> list[str]:
    """The words of an output down to the names of a table's columns."""
    lines = [line for line in output.splitlines() if not line.startswith("saved")]
    columns = next(number for number, line in enumerate(lines) if "block" in line)
    return words("\n".join(lines[: columns + 1]))
