"""Images: the digits, folders with one sub-folder per class, their cache, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from linsim import images
from linsim.config import BadInput


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of one's own, and no memory of other tests. Returns: its folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images.load.cache_clear()
    images.split.cache_clear()
    return tmp_path / "cache" / "linsim"


def make(folder, sizes=((6, 6),) * 3, mode="L", classes=("cat", "dog")):
    """A folder of random images; sizes (width, height) of each class's images. Returns: the folder.
    """
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index, (width, height) in enumerate(sizes):
            shape = (height, width) if mode == "L" else (height, width, 3)
            Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name / f"{index}.png")
    return folder


def test_digits_are_all_there():
    held = images.load("digits")
    assert held.pixels.shape == (1797, 8, 8, 1)
    assert held.pixels.min() == 0
    assert held.pixels.max() == 1
    assert np.bincount(held.labels).min() == 174
    assert held.classes == tuple("0123456789")


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
def test_a_folder_is_decoded_as_it_is(mode, channels, tmp_path):
    folder = make(tmp_path / "data", mode=mode)
    held = images.folder(folder)
    assert held.pixels.shape == (6, 6, 6, channels)
    assert held.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert held.classes == ("cat", "dog")
    exact = np.asarray(Image.open(folder / "dog" / "2.png"), dtype=np.float32).reshape(6, 6, channels) / 255
    np.testing.assert_array_equal(held.pixels[5], exact)


def test_one_colour_image_makes_all_colour_and_sizes_are_resized_on_request(tmp_path):
    folder = make(tmp_path / "data", sizes=((6, 6), (9, 5)))
    Image.new("RGB", (4, 4), (255, 0, 0)).save(folder / "dog" / "red.png")
    held = images.folder(folder, 8)
    assert held.pixels.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(held.pixels[-1], np.broadcast_to([1.0, 0.0, 0.0], (8, 8, 3)))
    np.testing.assert_array_equal(held.pixels[0, ..., 0], held.pixels[0, ..., 2])


def test_the_cache_is_used_and_follows_the_files(tmp_path, cache, monkeypatch):
    folder = make(tmp_path / "data")
    first = images.folder(folder)
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patched:
        patched.setattr(images, "_decode", None)  # a second decoding would fail
        np.testing.assert_array_equal(images.folder(folder).pixels, first.pixels)
    Image.new("L", (6, 6), 255).save(folder / "cat" / "new.png")
    assert len(images.folder(folder).labels) == 7
    for file in cache.iterdir():
        file.write_bytes(b"half")
    assert len(images.folder(folder).labels) == 7


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(images.folder(make(tmp_path / "data")).labels) == 6


def broken(folder):
    """Folders that are refused, by what the message must name."""
    (folder / "empty").mkdir(parents=True)
    make(folder / "single", classes=("cat",))
    make(folder / "hollow")
    (folder / "hollow" / "owl").mkdir()
    make(folder / "mixed", sizes=((6, 6), (7, 5)))
    make(folder / "bad")
    (folder / "bad" / "dog" / "1.png").write_bytes(b"not an image")
    make(folder / "cut")
    whole = (folder / "cut" / "dog" / "2.png").read_bytes()
    (folder / "cut" / "dog" / "2.png").write_bytes(whole[: len(whole) // 2])
    return {
        "none": "none is not allowed",
        "empty": "one per class, not 0",
        "single": "one per class, not 1",
        "hollow": "owl must hold images",
        "mixed": "1.png 7 x 5",
        "bad": "1.png, which must be an image",
        "cut": "2.png, which must be an image",
    }


def divided(folder, **parts):
    """A folder with train/ and test/, each as `make` makes it. Returns: the folder."""
    for part in images.SPLITS:
        make(folder / part, **parts.get(part, {}))
    return folder


def test_train_and_test_are_bytes_with_the_same_classes(tmp_path, monkeypatch):
    folder = divided(tmp_path / "data", train={"sizes": ((6, 6),) * 4})
    train, test = images.split(folder)
    assert (train.pixels.dtype, train.pixels.shape, test.pixels.shape) == (np.uint8, (8, 6, 6, 1), (6, 6, 6, 1))
    assert train.labels.tolist() == [0] * 4 + [1] * 4
    assert test.labels.tolist() == [0] * 3 + [1] * 3
    assert train.classes == test.classes == ("cat", "dog")
    np.testing.assert_array_equal(test.pixels[4, ..., 0], Image.open(folder / "test" / "dog" / "1.png"))
    images.split.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(images, "_decode", None)  # a second decoding would fail
        np.testing.assert_array_equal(images.split(folder)[0].pixels, train.pixels)


def test_grey_images_among_coloured_ones_become_coloured_in_both_parts(tmp_path):
    folder = divided(tmp_path / "data", test={"mode": "RGB"})
    train, test = images.split(folder)
    assert train.pixels.shape[-1] == test.pixels.shape[-1] == 3
    np.testing.assert_array_equal(train.pixels[..., 0], train.pixels[..., 2])


def badly_divided(folder):
    """Folders with train/ or test/ that are refused, by what the message must name."""
    make(folder / "halved" / "train")
    divided(folder / "apart", test={"classes": ("cat", "owl")})
    divided(folder / "more", test={"classes": ("cat", "dog", "owl")})
    divided(folder / "alone", train={"classes": ("cat",)}, test={"classes": ("cat",)})
    divided(folder / "uneven", test={"sizes": ((6, 6), (7, 5))})
    divided(folder / "spoilt")
    (folder / "spoilt" / "test" / "dog" / "1.png").write_bytes(b"not an image")
    divided(folder / "hollow")
    (folder / "hollow" / "test" / "owl").mkdir()
    return {
        "halved": "halved is not allowed: it must be a folder that holds train/ and test/, and test/ is missing",
        "apart": "must have the same classes, and dog is in train/, not in test/",
        "more": "must have the same classes, and owl is in test/, not in train/",
        "alone": "train is not allowed: it must hold at least two sub-folders",
        "uneven": "uneven/test/cat/1.png 7 x 5",
        "spoilt": "spoilt/test/dog/1.png, which must be an image",
        "hollow": "test/owl must hold images, and holds none",
    }


@pytest.mark.parametrize(("load", "bad"), [(images.folder, broken), (images.split, badly_divided)])
def test_broken_folders_are_named_and_nothing_is_cached(load, bad, tmp_path, cache):
    for name, what in bad(tmp_path / "data").items():
        with pytest.raises(BadInput, match=what) as raised:
            load(tmp_path / "data" / name)
        assert "\n" not in str(raised.value)
        assert not cache.exists()
