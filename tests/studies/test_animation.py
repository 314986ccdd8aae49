"""`linsim animate`."""

import io

import numpy as np
import pytest
from PIL import Image

from linsim.config import BadInput
from linsim.studies import animation

SMALL = [
    "--frames",
    "3",
    "--steps",
    "30",
    "--dim",
    "4",
    "--batch-size",
    "16",
    "--noise",
    "0.5",
    "3",
]


def test_the_command_makes_a_gif_of_as_many_frames(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(animation, "configure_jax", lambda **_: None)
    animation.main([*SMALL, "--out", str(tmp_path)])
    assert "saved" in capsys.readouterr().out
    content = (tmp_path / "collapse.gif").read_bytes()
    assert len(content) < 2_000_000
    with Image.open(io.BytesIO(content)) as picture:
        assert (getattr(picture, "n_frames", 1), picture.info["loop"]) == (3, 0)
        frames = [np.asarray(frame_of(picture, k)) for k in range(3)]
    assert not np.array_equal(frames[0], frames[2])


def frame_of(picture, number):
    picture.seek(number)
    return picture.convert("L")


def test_the_layers_are_those_of_their_noises():
    """Strong noise takes from the noisy half of the coordinates what it leaves the other."""
    request = animation.Request(frames=2, steps=200, dim=4, batch_size=64)
    weak, strong = animation.trained(request, np.array([0.1, 3.0]))
    norms = np.linalg.norm(weak, axis=0), np.linalg.norm(strong, axis=0)
    assert norms[0][2:].min() > 0.5
    assert norms[1][2:].max() < 0.05
    assert norms[1][:2].min() > 0.5


def test_noise_must_rise():
    with pytest.raises(BadInput, match=r"noise 2\.0 1\.0 is not allowed"):
        animation.main(["--noise", "2", "1"])
