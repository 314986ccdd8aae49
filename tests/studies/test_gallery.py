"""`linsim figures`: the gallery is what the README shows, and a picture is what its experiment
draws.
"""

import re

import forked
from helpers import ROOT, console

from linsim.studies import gallery
from linsim.studies.strong_aug import STUDY
from linsim.studies.study import Picture


def test_the_gallery_is_what_the_readme_shows():
    shown = set(re.findall(r"\(figures/(\w+)\.png\)", (ROOT / "README.md").read_text()))
    assert shown == set(gallery.gallery())
    assert {path.stem for path in (ROOT / "figures").glob("*.png")} == set(gallery.gallery())
    for entry in gallery.gallery().values():
        assert (ROOT / "experiments" / f"{entry.study.name}.py").is_file()


def test_every_picture_is_small_enough():
    for path in (ROOT / "figures").glob("*.png"):
        assert path.stat().st_size < 300_000, path.name


def test_a_figure_is_drawn_from_a_run_and_then_from_its_results(tmp_path, monkeypatch):
    small = "--steps 20 --seeds 1 --dim 4 --noisy-dims 2 --batch-size 16 --dataset-size 64"
    entry = gallery.Entry(STUDY, Picture("small", tuple(small.split()), "none"))
    monkeypatch.setattr(gallery, "gallery", lambda: {"small": entry})
    monkeypatch.setattr(
        gallery.subprocess, "run", lambda words, **_: forked.run(words[1:], ROOT, timeout=300)
    )
    request = gallery.Request(out=tmp_path / "figures", results=tmp_path / "results")
    for folder in (request.out, request.results):
        folder.mkdir()
    drawn = gallery.draw("small", request)
    assert drawn.read_bytes() == (tmp_path / "results" / "small" / "strong_aug.png").read_bytes()
    saved = tmp_path / "results" / "small" / "strong_aug.nc"
    before = saved.stat().st_mtime_ns
    assert gallery.draw("small", request).stat().st_size > 10_000
    assert saved.stat().st_mtime_ns == before


def test_the_list_names_every_figure():
    done = console("figures", "--list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(gallery.gallery())
