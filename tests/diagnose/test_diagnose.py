"""`linsim diagnose` on one's own arrays: right measures, and one clear sentence for every file that
is not one.
"""

import numpy as np
import pytest
from helpers import assert_close, console
from safetensors.numpy import save_file

from linsim.config import BadInput
from linsim.diagnose import command as diagnose
from linsim.diagnose import table

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((50, 4))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".safetensors"])
def test_every_format_gives_the_same_matrix(suffix, tmp_path):
    path = tmp_path / f"z{suffix}"
    writers = {
        ".npy": lambda: np.save(path, MATRIX),
        ".npz": lambda: np.savez(path, z=MATRIX),
        ".csv": lambda: np.savetxt(path, MATRIX, delimiter=",", fmt="%.17g"),
        ".safetensors": lambda: save_file({"z": MATRIX}, path),
    }
    writers[suffix]()
    np.testing.assert_array_equal(diagnose.load(path), MATRIX)


def test_a_csv_may_have_a_header(tmp_path):
    np.savetxt(
        tmp_path / "z.csv", MATRIX, delimiter=",", fmt="%.17g", header="a,b,1e5,d", comments=""
    )
    np.testing.assert_array_equal(diagnose.load(tmp_path / "z.csv"), MATRIX)


def bad_files(folder):
    """Files that are refused, with what the message must say."""
    cut = MATRIX.copy()
    cut[3, 2] = np.nan
    arrays = {
        "nan": (cut, "holds nan at row 3, column 2"),
        "infinite": (
            np.where(MATRIX[0, 0] == MATRIX, np.inf, MATRIX),
            "holds inf at row 0, column 0",
        ),
        "vector": (MATRIX[:, 0], r"shape \(50,\)"),
        "cube": (MATRIX[None], r"shape \(1, 50, 4\)"),
        "constant": (np.ones((5, 3)), "5 equal rows"),
        "single": (MATRIX[:1], "one sample"),
        "complex": (MATRIX + 1j, "complex128"),
        "none": (MATRIX[:0], r"shape \(0, 4\)"),
    }
    for name, (array, what) in arrays.items():
        np.save(folder / f"{name}.npy", array)
        yield folder / f"{name}.npy", what
    np.save(folder / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    yield folder / "pickle.npy", "allow_pickle=False"
    np.savez(folder / "two.npz", a=MATRIX, b=MATRIX)
    yield folder / "two.npz", "holds 2 arrays: --names must be one of those in .*a, b"
    (folder / "text.csv").write_text("a,b\n1,x\n")
    yield folder / "text.csv", "cannot be read"
    for name in ("torn.npy", "torn.npz", "torn.safetensors"):
        (folder / name).write_bytes(b"\x93NUMPY half")
        yield folder / name, "cannot be read"
    yield folder / "missing.npy", "cannot be read .*No such file"
    yield folder / "model.pt", "must be a file ending in .npy, .npz, .csv, .safetensors"


def test_bad_files_are_one_sentence_each(tmp_path):
    for path, what in bad_files(tmp_path):
        with pytest.raises(BadInput, match=what) as raised:
            diagnose.load(path)
        assert "\n" not in str(raised.value)
        assert str(path) in str(raised.value)


def test_two_layers_from_two_files_or_one(tmp_path):
    w1, w2 = RNG.standard_normal((6, 4)), RNG.standard_normal((5, 6))
    np.save(tmp_path / "w1.npy", w1)
    np.save(tmp_path / "w2.npy", w2)
    np.savez(tmp_path / "both.npz", first=w1, second=w2, other=w1)
    for paths, names in (
        ((tmp_path / "w1.npy", tmp_path / "w2.npy"), ()),
        ((tmp_path / "both.npz",), ("first", "second")),
    ):
        loaded = diagnose.load_layers(paths, names)
        for matrix, expected in zip(loaded, (w1, w2), strict=True):
            np.testing.assert_array_equal(matrix, expected)
    for paths, names, what in (
        (
            (tmp_path / "w2.npy", tmp_path / "w1.npy"),
            (),
            "the second's columns must be the first's rows",
        ),
        ((tmp_path / "w1.npy",), (), "must be two files"),
        ((tmp_path / "both.npz",), ("first", "third"), "third is not allowed"),
    ):
        with pytest.raises(BadInput, match=what):
            diagnose.load_layers(paths, names)


def test_verdicts_on_constructed_embeddings():
    dimensional = MATRIX * np.array([1.0, 1.0, 1e-3, 1e-3])
    assert "verdict: no collapse" in table.embeddings(MATRIX)
    assert "verdict: dimensional collapse, 2 of 4 dimensions" in table.embeddings(dimensional)
    assert "verdict: complete collapse" in table.embeddings(1e-2 * MATRIX + 5)
    few = table.embeddings(RNG.standard_normal((4, 10)))
    assert "4 samples span at most 3 dimensions: the other 7 are not judged" in few
    assert "verdict: no collapse" in few


def test_aligned_layers_are_found_aligned():
    """Balanced layers: C = 0, |A_kk| = 1, and the bound says so."""
    u, v, w = (np.linalg.qr(RNG.standard_normal((4, 4)))[0] for _ in range(3))
    values = np.array([4.0, 3.0, 2.0, 1.0])
    said = table.layers(u * values @ v.T, w * values @ u.T)
    assert "verdict: 4 of 4 modes aligned (|A_kk| >= 0.98); the bound is above 0 for 4" in said
    assert_close(float(said.split("|C| = ")[1].split(",")[0]), 0.0, rtol=1e-12)


def test_the_command(tmp_path):
    np.save(tmp_path / "z.npy", MATRIX)
    done = console("diagnose", tmp_path / "z.npy", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("verdict: no collapse")
    assert (tmp_path / "out" / "z.png").stat().st_size > 5_000
    np.save(tmp_path / "w.npy", np.eye(4))
    done = console(
        "diagnose", "--weights", tmp_path / "w.npy", tmp_path / "w.npy", "--out", tmp_path / "out"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "weights.png").stat().st_size > 5_000
    for words in (
        ["diagnose"],
        ["diagnose", tmp_path / "none.npy"],
        ["nothing"],
        ["figures", "nothing"],
        ["diagnose", "--no"],
    ):
        done = console(*words, *(["--out", tmp_path / "bad"] if words[0] == "diagnose" else []))
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "bad").exists()
