"""README and docs keep their promises: code runs, pictures and scripts exist, links lead on."""

import re

import pytest
from helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = [
    pytest.param(code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    )
]


@pytest.mark.parametrize("code", CODE)
def test_every_example_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_the_own_loss_descends():
    code = re.findall(r"^```python\n(.*?)^```", EXTENDING, flags=re.MULTILINE | re.DOTALL)[-1]
    namespace: dict = {}
    exec(code, namespace)
    assert (namespace["run"].loss[1:] <= namespace["run"].loss[:-1]).all()


EXTENDING = (ROOT / "docs" / "extending.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_picture_script_and_link_is_there(page):
    text = page.read_text()
    for name in re.findall(r"experiments/[a-z_]+\.py", text):
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), target


def test_every_section_that_docstrings_name_is_there():
    for path in (ROOT / "linsim").rglob("*.py"):
        text = re.sub(r"\s+", " ", path.read_text())
        for page, name in re.findall(r'docs/(\w+)\.md, "([^"]+)"', text):
            sections = re.findall(
                r"^## (.*)$", (ROOT / "docs" / f"{page}.md").read_text(), flags=re.M
            )
            assert name in sections, f"{path.name} names a section {name!r} of docs/{page}.md"


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
