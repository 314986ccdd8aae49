"""The README keeps its promises: its code runs, its pictures exist, its commands exist."""

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_of_an_own_loss_runs_and_descends():
    code = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)[-1]
    namespace: dict = {}
    exec(code, namespace)
    assert np.all(np.diff(namespace["run"].loss) <= 0)


def test_the_example_of_a_sweep_runs(capsys):
    code = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)[0]
    exec(code, {})
    said = capsys.readouterr().out
    assert "batch_size: 2, learning_rate: 2, noise: 2," in said
    assert "nan" not in said


def test_every_picture_and_script_exists():
    pictures = re.findall(r"\((figures/[^)]+)\)", README)
    scripts = set(re.findall(r"experiments/\w+\.py", README))
    assert pictures
    assert scripts
    for name in [*pictures, *scripts]:
        assert (ROOT / name).is_file(), name


def test_every_section_that_docstrings_name_is_there():
    sections = set(re.findall(r"^## (.*)$", README, flags=re.MULTILINE))
    for path in (ROOT / "linsim").rglob("*.py"):
        for name in re.findall(r'README "([^"]+)"', path.read_text()):
            assert name in sections, f"{path.name} names README section {name!r}"
