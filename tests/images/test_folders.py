"""Images: the digits, folders with one sub-folder per class, their cache, and what is refused."""

from typing import get_args

import numpy as np
import pytest
from image_folders import badly_divided, broken, divided, make
from PIL import Image

from linsim.config import BadInput
from linsim.images import folders
from linsim.images.names import Part


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of one's own, and no memory of other tests. Returns: its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders.load.cache_clear()
    folders.split.cache_clear()
    return tmp_path / "cache" / "linsim"


def test_digits_are_all_there():
    held = folders.load("digits")
    assert held.pixels.shape == (1797, 8, 8, 1)
    assert held.pixels.min() == 0
    assert held.pixels.max() == 1
    assert np.bincount(held.labels).min() == 174
    assert held.classes == tuple("0123456789")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_a_folder_is_decoded_as_it_is(mode, channels, tmp_path):
    folder = make(tmp_path / "data", mode=mode)
    held = folders.folder(folder)
    assert held.pixels.shape == (6, 6, 6, channels)
    assert held.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert held.classes == ("cat", "dog")
    exact = (
        np.asarray(Image.open(folder / "dog" / "2.png"), dtype=np.float32).reshape(6, 6, channels)
        / 255
    )
    np.testing.assert_array_equal(held.pixels[5], exact)


def test_choosing_and_judging_share_no_image_and_are_all():
    held, *parts = (folders.load("digits", None, part) for part in get_args(Part))
    rows = [{image.tobytes() for image in part.pixels} for part in (held, *parts)]
    assert rows[1] | rows[2] == rows[0]
    assert not rows[1] & rows[2]
    assert sum(len(part.labels) for part in parts) == len(held.labels)
    for name in range(10):
        chosen, judged = (int(np.sum(part.labels == name)) for part in parts)
        assert 0 <= 2 * chosen - judged <= 2


def test_one_colour_image_makes_all_colour_and_sizes_are_resized_on_request(tmp_path):
    folder = make(tmp_path / "data", sizes=((6, 6), (9, 5)))
    Image.new("RGB", (4, 4), (255, 0, 0)).save(folder / "dog" / "red.png")
    held = folders.folder(folder, 8)
    assert held.pixels.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(held.pixels[-1], np.broadcast_to([1.0, 0.0, 0.0], (8, 8, 3)))
    np.testing.assert_array_equal(held.pixels[0, ..., 0], held.pixels[0, ..., 2])


def test_the_cache_is_used_and_follows_the_files(tmp_path, cache, monkeypatch):
    folder = make(tmp_path / "data")
    first = folders.folder(folder)
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patched:
        patched.setattr(folders, "_decode", None)  # a second decoding would fail
        np.testing.assert_array_equal(folders.folder(folder).pixels, first.pixels)
    Image.new("L", (6, 6), 255).save(folder / "cat" / "new.png")
    assert len(folders.folder(folder).labels) == 7
    for file in cache.iterdir():
        file.write_bytes(b"half")
    assert len(folders.folder(folder).labels) == 7


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(folders.folder(make(tmp_path / "data")).labels) == 6


def test_train_and_test_are_bytes_with_the_same_classes(tmp_path, monkeypatch):
    folder = divided(tmp_path / "data", train={"sizes": ((6, 6),) * 4})
    train, test = folders.split(folder)
    assert (train.pixels.dtype, train.pixels.shape, test.pixels.shape) == (
        np.uint8,
        (8, 6, 6, 1),
        (6, 6, 6, 1),
    )
    assert train.labels.tolist() == [0] * 4 + [1] * 4
    assert test.labels.tolist() == [0] * 3 + [1] * 3
    assert train.classes == test.classes == ("cat", "dog")
    np.testing.assert_array_equal(
        test.pixels[4, ..., 0], Image.open(folder / "test" / "dog" / "1.png")
    )
    folders.split.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(folders, "_decode", None)  # a second decoding would fail
        np.testing.assert_array_equal(folders.split(folder)[0].pixels, train.pixels)


def test_grey_images_among_coloured_ones_become_coloured_in_both_parts(tmp_path):
    folder = divided(tmp_path / "data", test={"mode": "RGB"})
    train, test = folders.split(folder)
    assert train.pixels.shape[-1] == test.pixels.shape[-1] == 3
    np.testing.assert_array_equal(train.pixels[..., 0], train.pixels[..., 2])


@pytest.mark.parametrize(
    ("load", "bad"), [(folders.folder, broken), (folders.split, badly_divided)]
)
def test_broken_folders_are_named_and_nothing_is_cached(load, bad, tmp_path, cache):
    for name, what in bad(tmp_path / "data").items():
        with pytest.raises(BadInput, match=what) as raised:
            load(tmp_path / "data" / name)
        assert "\n" not in str(raised.value)
        assert not cache.exists()


def test_the_digest_of_images_changes_with_what_they_are(tmp_path):
    folder = make(tmp_path / "data")
    before = folders.folder(folder)
    assert folders.digest(before) == folders.digest(folders.folder(folder))
    assert folders.digest(before) != folders.digest(before._replace(pixels=1 - before.pixels))
    assert folders.digest(before) != folders.digest(before._replace(labels=before.labels[::-1]))
    assert folders.digest(before) != folders.digest(before._replace(classes=("cat", "cow")))
    assert folders.digest(before) != folders.digest(before, before)
