"""`linsim diagnose` as a command: table, JSON, CSV, picture, several files, exit codes."""

import json

import numpy as np
import pytest
from helpers import console

from linsim.config import BadInput
from linsim.diagnose import command, embeddings

MATRIX = np.random.default_rng(0).standard_normal((50, 4))


def run(capsys, *words):
    command.main([str(word) for word in words])
    return capsys.readouterr().out


@pytest.fixture
def files(tmp_path):
    for k, depth in enumerate((1.0, 0.1, 1e-4)):
        np.save(tmp_path / f"epoch{k}.npy", MATRIX * [1, 1, depth, depth])
    return tmp_path


def test_a_table_and_a_picture(files, capsys):
    told = run(capsys, files / "epoch0.npy", "--out", files / "out")
    assert told.splitlines()[-1].startswith("verdict: no collapse; a dimension counts")
    assert (files / "out" / "epoch0.png").stat().st_size > 5_000


def test_json_is_the_report(files, capsys):
    told = json.loads(run(capsys, files / "epoch2.npy", "--json", "--out", files / "out"))
    expected = embeddings(np.load(files / "epoch2.npy"), name="epoch2").to_dict()
    assert told == json.loads(json.dumps([expected]))
    assert told[0]["verdict"]["collapsed"] == 2
    assert told[0]["values"]["alignment"] is None


def test_several_files_are_one_table_and_one_picture(files, capsys):
    paths = [files / f"epoch{k}.npy" for k in range(3)]
    told = run(capsys, *paths, "--out", files / "out")
    assert "epoch2" in told
    assert told.count("no collapse") == 2
    assert told.count("dimensional collapse, 2 of 4 dimensions") == 1
    assert (files / "out" / "series.png").stat().st_size > 5_000
    lines = run(capsys, *paths, "--csv", "--out", files / "out").splitlines()
    assert lines[0].startswith("name,samples,dimensions,verdict,collapsed,rankme")
    assert lines[3].startswith("epoch2,50,4,dimensional,2,")
    np.savez(files / "run.npz", **{f"step{k}": np.load(path) for k, path in enumerate(paths)})
    told = run(capsys, files / "run.npz", "--names", "step0", "step2", "--out", files / "out")
    assert "step2" in told


def test_positives_and_labels(files, capsys):
    words = ("--positives", files / "epoch1.npy", "--out", files / "out")
    assert "LiDAR of pairs" in run(capsys, files / "epoch0.npy", *words)
    np.savez(files / "z.npz", z=MATRIX, y=np.arange(50) % 2)
    told = run(capsys, files / "z.npz", "--labels", "y", "--out", files / "out")
    assert "0 of 2 classes have collapsed" in told


def test_an_exit_code_for_collapse_on_request(files, capsys):
    run(capsys, files / "epoch0.npy", "--fail-on-collapse", "--out", files / "out")
    with pytest.raises(SystemExit) as ended:
        run(capsys, files / "epoch2.npy", "--fail-on-collapse", "--out", files / "out")
    assert ended.value.code == command.COLLAPSED


def test_weights(files, capsys):
    np.save(files / "w1.npy", np.diag([3.0, 2.0, 1.0]))
    words = ("--weights", files / "w1.npy", files / "w1.npy", "--out", files / "out")
    assert "3 of 3 modes aligned" in run(capsys, *words)
    assert json.loads(run(capsys, *words, "--json"))["values"]["aligned_modes"] == 3
    assert (files / "out" / "weights.png").stat().st_size > 5_000


def test_bad_words_are_one_sentence_and_write_nothing(files):
    for words, what in (
        ([], "was given neither"),
        ([files / "epoch0.npy", "--weights", files / "epoch0.npy"], "was given both"),
        ([files / "none.npy"], "No such file"),
        ([files / "epoch0.npy", "--json", "--csv"], "choose one"),
        ([files / "epoch0.npy", "--pool", "max"], "pool"),
        ([files / "epoch0.npy", "--no"], "Unrecognized"),
    ):
        with pytest.raises(BadInput, match=what) as raised:
            command.main([*map(str, words), "--out", str(files / "bad")])
        assert "\n" not in str(raised.value)
        assert not (files / "bad").exists()


def test_a_subcommand_is_found_by_its_first_word(monkeypatch):
    monkeypatch.setattr(command, "SUBCOMMANDS", {"views": "linsim.diagnose.command"})
    with pytest.raises(BadInput, match="was given neither"):
        command.main(["views"])


def test_the_console_ends_with_one_sentence_and_no_traceback(tmp_path):
    np.save(tmp_path / "z.npy", MATRIX)
    done = console("diagnose", tmp_path / "z.npy", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: no collapse")
    assert done.stderr == ""
    for words in (["diagnose"], ["nothing"], ["figures", "nothing"]):
        done = console(*words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
