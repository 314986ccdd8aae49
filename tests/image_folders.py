"""Folders of random images that tests make, and those that must be refused."""

import numpy as np
from PIL import Image

from linsim.images import folders


def make(folder, sizes=((6, 6),) * 3, mode="L", classes=("cat", "dog")):
    """A folder of random images; sizes (width, height) of each class's images.

    Returns: the folder.
    """
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index, (width, height) in enumerate(sizes):
            shape = (height, width) if mode == "L" else (height, width, 3)
            pixels = rng.integers(0, 256, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


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
    for part in folders.SPLITS:
        make(folder / part, **parts.get(part, {}))
    return folder


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
        "halved": "halved is not allowed: it must be a folder that holds train/ and test/, and "
        "test/ is missing",
        "apart": "must have the same classes, and dog is in train/, not in test/",
        "more": "must have the same classes, and owl is in test/, not in train/",
        "alone": "train is not allowed: it must hold at least two sub-folders",
        "uneven": "uneven/test/cat/1.png 7 x 5",
        "spoilt": "spoilt/test/dog/1.png, which must be an image",
        "hollow": "test/owl must hold images, and holds none",
    }
