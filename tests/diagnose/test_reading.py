"""One's own files: every format gives the same numbers, tables are taken for what they are and say
so, and every file that is not allowed gives one clear sentence.
"""

import gzip

import h5py
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.io
from helpers import assert_close
from safetensors.numpy import save_file

from linsim.config import BadInput
from linsim.diagnose.reading import load
from linsim.diagnose.reading.choices import Choices

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((50, 4))
FRAME = pd.DataFrame(MATRIX)


def read(path, **choices):
    return load.embeddings(path, Choices(**choices))


def write(path, matrix):
    """A matrix in the format of the path."""
    match path.name.split(".", 1)[1]:
        case "npy":
            np.save(path, matrix)
        case "npz":
            np.savez(path, z=matrix)
        case "safetensors":
            save_file({"z": np.ascontiguousarray(matrix)}, path)
        case "h5":
            with h5py.File(path, "w") as file:
                file["group/z"] = matrix
        case "mat":
            scipy.io.savemat(path, {"z": matrix})
        case "txt":
            np.savetxt(path, matrix, fmt="%.17g", header="a comment")
        case "csv" | "csv.gz":
            np.savetxt(path, matrix, delimiter=",", fmt="%.17g")
        case "tsv":
            np.savetxt(path, matrix, delimiter="\t", fmt="%.17g")
        case "parquet":
            pytest.importorskip("pyarrow")
            pd.DataFrame(matrix).to_parquet(path)


FORMATS = ["npy", "npz", "safetensors", "h5", "mat", "txt", "csv", "csv.gz", "tsv", "parquet"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_matrix(suffix, tmp_path):
    path = tmp_path / f"z.{suffix}"
    write(path, MATRIX)
    np.testing.assert_array_equal(read(path).array, MATRIX)


def test_matlab_7_3_has_its_axes_turned_back(tmp_path):
    with h5py.File(tmp_path / "z.mat", "w", userblock_size=512) as file:
        file["z"] = MATRIX.T  # as MATLAB stores it
    header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    with open(tmp_path / "z.mat", "r+b") as file:
        file.write(header)
    np.testing.assert_array_equal(read(tmp_path / "z.mat").array, MATRIX)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_half_precision(kind, suffix, tmp_path):
    write(tmp_path / f"z.{suffix}", MATRIX.astype(kind))
    found = read(tmp_path / f"z.{suffix}").array
    assert found.dtype == kind
    np.testing.assert_array_equal(found.astype(float), MATRIX.astype(kind).astype(float))


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2"])
def test_float8(kind, tmp_path):
    eight = MATRIX.astype(getattr(ml_dtypes, kind))
    write(tmp_path / "z.safetensors", eight)
    found = read(tmp_path / "z.safetensors").array
    np.testing.assert_array_equal(found.astype(float), eight.astype(float))
    write(tmp_path / "z.npz", eight.view("V1"))
    found = read(tmp_path / "z.npz", dtype=kind).array
    np.testing.assert_array_equal(found.astype(float), eight.astype(float))
    with pytest.raises(BadInput, match="need --dtype, one of float8_e4m3fn"):
        read(tmp_path / "z.npz")


def test_a_large_file_is_not_read_into_memory(tmp_path):
    np.save(tmp_path / "z.npy", MATRIX)
    assert isinstance(read(tmp_path / "z.npy").array, np.memmap)


def test_pytorch_files(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"model": {"head": torch.tensor(MATRIX)}, "step": 3}, tmp_path / "z.pt")
    np.testing.assert_array_equal(read(tmp_path / "z.pt").array, MATRIX)
    half = torch.tensor(MATRIX).bfloat16()
    torch.save(half, tmp_path / "half.pt")
    assert_close(read(tmp_path / "half.pt").array.astype(float), half.double().numpy())
    torch.save(object, tmp_path / "code.pt")
    with pytest.raises(BadInput, match="cannot be read"):
        read(tmp_path / "code.pt")


def test_without_pytorch_its_files_say_how_to_convert(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "z.pt").write_bytes(b"PK")
    with pytest.raises(BadInput, match=r"numpy\.save as a \.npy file"):
        read(tmp_path / "z.pt")


# --- tables -----------------------------------------------------------------------------------

TABLES = {
    "pandas, with its index": (FRAME.to_csv(), "index: column 0 (unnamed)"),
    "pandas, without": (FRAME.to_csv(index=False), "header: the first line (0, 1, 2, 3)"),
    "counted from 1": (FRAME.rename(columns=lambda k: k + 1).to_csv(index=False), "(1, 2, 3, 4)"),
    "no header": (FRAME.to_csv(index=False, header=False), "header: none"),
    "byte order mark": ("\ufeff" + FRAME.to_csv(index=False, header=False), "header: none"),
    "names of columns": (FRAME.set_axis(list("abcd"), axis=1).to_csv(index=False), "(a, b, c, d)"),
    "names that are numbers": (
        FRAME.set_axis(["a", "b", "1e5", "d"], axis=1).to_csv(index=False),
        "(a, b, 1e5, d)",
    ),
    "names of rows": (
        FRAME.set_axis([f"{k}.png" for k in range(50)]).to_csv(index_label="file"),
        "index: column 0 (file)",
    ),
    "an index with a name": (FRAME.to_csv(index_label="id"), "index: column 0 (id)"),
    "as R writes it": (
        FRAME.set_axis(list("abcd"), axis=1).to_csv().removeprefix(","),
        "index: column 0 (unnamed)",
    ),
    "columns of a selection": (
        FRAME.rename(columns=lambda k: k + 512).to_csv(index=False),
        "(512, 513, 514, 515)",
    ),
    "rows of a selection": (
        FRAME.set_axis(7 * RNG.permutation(50)).to_csv(header=False),
        "index: column 0 (0)",
    ),
    "spreadsheet of Europe": (FRAME.to_csv(index=False, sep=";", decimal=","), "index: none"),
    "spaces after commas": (
        FRAME.to_csv(index=False, header=False).replace(",", ", "),
        "header: none",
    ),
    "labels of text": (
        FRAME.assign(animal=["cat", "dog"] * 25).to_csv(index=False),
        "labels: column 4 (animal)",
    ),
    "labels first, no header": (
        pd.concat([pd.Series(["cat", "dog"] * 25), FRAME], axis=1).to_csv(
            index=False, header=False
        ),
        "labels: column 0 (0)",
    ),
    "labels of numbers": (FRAME.assign(label=[3, 4] * 25).to_csv(), "labels: column 5 (label)"),
}


@pytest.mark.parametrize("text", TABLES)
def test_tables_are_taken_for_what_they_are(text, tmp_path):
    content, told = TABLES[text]
    (tmp_path / "z.csv").write_text(content, encoding="utf-8")
    found = read(tmp_path / "z.csv")
    np.testing.assert_array_equal(found.array, MATRIX)
    assert any(told in each for each in found.taken), found.taken
    if "labels of text" in text:
        assert found.labels is not None
        assert found.labels[:2].tolist() == ["cat", "dog"]


def test_utf_16_and_gzip(tmp_path):
    FRAME.to_csv(tmp_path / "z.csv", encoding="utf-16")
    np.testing.assert_array_equal(read(tmp_path / "z.csv").array, MATRIX)
    (tmp_path / "z.tsv.gz").write_bytes(gzip.compress(FRAME.to_csv(sep="\t").encode()))
    np.testing.assert_array_equal(read(tmp_path / "z.tsv.gz").array, MATRIX)


def test_whole_numbers_are_not_taken_for_a_header_or_an_index(tmp_path):
    counts = np.array([[1, 5], [7, 6], [3, 3]])
    np.savetxt(tmp_path / "z.csv", counts, fmt="%d", delimiter=",")
    np.testing.assert_array_equal(read(tmp_path / "z.csv").array, counts)


def test_flags_overrule(tmp_path):
    FRAME.to_csv(tmp_path / "z.csv")
    assert read(tmp_path / "z.csv", index="none").array.shape == (50, 5)
    assert read(tmp_path / "z.csv", header="no", index="none", columns=("1", "2")).array.shape == (
        51,
        2,
    )
    np.testing.assert_array_equal(read(tmp_path / "z.csv", columns=("2:4",)).array, MATRIX[:, 1:3])
    np.testing.assert_array_equal(
        read(tmp_path / "z.csv", labels="3", columns=("0", "1")).array, MATRIX[:, :2]
    )
    with pytest.raises(BadInput, match="--columns x is not allowed"):
        read(tmp_path / "z.csv", columns=("x",))
    (tmp_path / "bar.csv").write_text(FRAME.to_csv(sep="|"))
    np.testing.assert_array_equal(read(tmp_path / "bar.csv", separator="|").array, MATRIX)


def test_columns_of_several_types(tmp_path):
    frame = FRAME.assign(whole=np.arange(50) // 2, flag=np.arange(50) % 2 == 0)
    frame.to_csv(tmp_path / "z.csv", index=False)
    np.testing.assert_array_equal(read(tmp_path / "z.csv").array, frame.to_numpy(dtype=float))


def test_embeddings_kept_as_lists_in_a_column(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"label": [0, 1] * 25, "embedding": list(MATRIX)})
    frame.to_parquet(tmp_path / "z.parquet")
    found = read(tmp_path / "z.parquet")
    np.testing.assert_array_equal(found.array, MATRIX)
    assert found.labels is not None


BAD_TABLES = {
    ",0.1,0.2\n0.3,0.4,0.5\n": "no value at row 0, column 0",
    "a,b\n1,2\n3,\n4,5\n": "no value at row 1, column b",
    "a,b\n1,2\n3\n4,5\n": "no value at row 1, column b",
    "a,b\n1,NA\n2,3\n": "no value at row 0, column b",
    "a\n1.5\n\n2.5\n": "no value at row 1, column a",
    "a,b\n1,2\nx,4\n": "holds 'x' at row 1, column a",
    "a,b\n1,inf\n3,4\n": "holds inf at row 0, column 1",
    "1,x,2.5\n3,4,5\n6,7,8.5\n": "'x' among the numbers of its first line",
    "a,b\n1,2,3,4\n3,4,5,6\n": "rows of more than 2 cells",
    "1,2\n3,4,5\n": "cannot be read",
    "": "holds no rows",
}


@pytest.mark.parametrize("content", BAD_TABLES)
def test_bad_tables_are_one_sentence_each(content, tmp_path):
    (tmp_path / "z.csv").write_text(content)
    with pytest.raises(BadInput, match=BAD_TABLES[content]) as raised:
        read(tmp_path / "z.csv")
    assert "\n" not in str(raised.value)
    assert str(tmp_path / "z.csv") in str(raised.value)


# --- arrays -----------------------------------------------------------------------------------


def bad_files(folder):
    """Files that are refused, with what the message must say."""
    cut = MATRIX.copy()
    cut[3, 2] = np.nan
    arrays = {
        "nan": (cut, "holds nan at row 3, column 2"),
        "infinite": (np.where(MATRIX[0, 0] == MATRIX, np.inf, MATRIX), "holds inf at row 0, col"),
        "vector": (MATRIX[:, 0], r"shape \(50,\)"),
        "cube": (MATRIX.reshape(5, 10, 4), r"shape \(5, 10, 4\).*--pool mean, first or each"),
        "single": (MATRIX[:1], "one sample"),
        "complex": (MATRIX + 1j, "complex128"),
        "none": (MATRIX[:0], r"shape \(0, 4\)"),
        "text": (MATRIX.astype(str), "must hold real numbers"),
    }
    for name, (array, what) in arrays.items():
        np.save(folder / f"{name}.npy", array)
        yield folder / f"{name}.npy", what
    np.save(folder / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    yield folder / "pickle.npy", "cannot be read"
    np.savez(folder / "two.npz", a=MATRIX, b=MATRIX)
    yield folder / "two.npz", "holds 2 arrays: --names must be one of those in .*a, b"
    for name in ("torn.npy", "torn.npz", "torn.safetensors", "torn.h5", "torn.mat"):
        (folder / name).write_bytes(b"\x93NUMPY half")
        yield folder / name, "cannot be read"
    yield folder / "missing.npy", "cannot be read .*No such file"
    yield folder / "model.onnx", "must be a file ending in .npy, .npz, .safetensors"


def test_bad_files_are_one_sentence_each(tmp_path):
    for path, what in bad_files(tmp_path):
        with pytest.raises(BadInput, match=what) as raised:
            read(path)
        assert "\n" not in str(raised.value)
        assert str(path) in str(raised.value)


def test_wrong_names_get_the_nearest(tmp_path):
    np.savez(tmp_path / "z.npz", backbone=MATRIX, projector=MATRIX)
    with pytest.raises(BadInput, match="did you mean projector"):
        read(tmp_path / "z.npz", names=("projecter",))


def test_patches_and_samples_in_columns(tmp_path):
    cube = MATRIX.reshape(10, 5, 4)
    np.save(tmp_path / "z.npy", cube)
    expected = {"mean": cube.mean(axis=1), "first": cube[:, 0], "each": MATRIX}
    for pool, matrix in expected.items():
        np.testing.assert_array_equal(read(tmp_path / "z.npy", pool=pool).array, matrix)
    np.save(tmp_path / "t.npy", MATRIX.T)
    np.testing.assert_array_equal(read(tmp_path / "t.npy", transpose=True).array, MATRIX)


def test_labels_from_the_same_file(tmp_path):
    np.savez(tmp_path / "z.npz", z=MATRIX, y=np.arange(50) % 3, short=np.arange(4))
    labels = read(tmp_path / "z.npz", names=("z",), labels="y").labels
    np.testing.assert_array_equal(labels, np.arange(50) % 3)
    with pytest.raises(BadInput, match="holds 4 values, and must hold one for each of the 50"):
        read(tmp_path / "z.npz", names=("z",), labels="short")


def test_two_layers_from_two_files_or_one(tmp_path):
    w1, w2 = RNG.standard_normal((6, 4)), RNG.standard_normal((5, 6))
    np.save(tmp_path / "w1.npy", w1)
    np.save(tmp_path / "w2.npy", w2)
    np.savez(tmp_path / "both.npz", first=w1, second=w2, other=w1)
    for paths, names in (
        ((tmp_path / "w1.npy", tmp_path / "w2.npy"), ()),
        ((tmp_path / "both.npz",), ("first", "second")),
    ):
        loaded = load.layers(paths, Choices(names=names))
        for matrix, expected in zip(loaded, (w1, w2), strict=True):
            np.testing.assert_array_equal(matrix, expected)
    np.save(tmp_path / "k1.npy", w1.T)
    np.save(tmp_path / "k2.npy", w2.T)
    turned = load.layers((tmp_path / "k1.npy", tmp_path / "k2.npy"), Choices(transpose=True))
    np.testing.assert_array_equal(turned[0], w1)
    for paths, names, what in (
        (
            (tmp_path / "w2.npy", tmp_path / "w1.npy"),
            (),
            "columns must be the first's rows",
        ),
        ((tmp_path / "w1.npy",), (), "must be two files"),
        ((tmp_path / "both.npz",), ("first", "third"), "third is not allowed"),
    ):
        with pytest.raises(BadInput, match=what):
            load.layers(paths, Choices(names=names))
