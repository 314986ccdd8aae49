"""`linsim animate`: a GIF of the embeddings of a linear layer, and of the singular values behind
them, while the noise passes √2.

Every frame is a layer that was trained to the end at its noise, from one start on one stream of
batches. Embeddings are defined up to a rotation, which is taken out: with W = U S Vᵀ the frame
shows Uᵀ z turned back by V, V S Vᵀ x, so that its axes are those of the data.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from linsim.config import Amplitude, Checked, Count, parsed, require, whole
from linsim.sweeps.runtime import configure_jax, prepare_folder
from linsim.sweeps.settings import Seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

DPI = 130
MILLISECONDS = 130  # of a frame; the last one stays ten times as long
SHOWN = 300  # embeddings in a frame


@dataclass(kw_only=True)
class Request(Checked):
    """Draw embeddings and spectrum of a linear layer while the noise passes √2, as a GIF."""

    out: Path = Path("figures")
    """Folder for collapse.gif."""
    noise: tuple[Amplitude, Amplitude] = (0.5, 2.0)
    """Noise of the first frame and of the last one."""
    frames: Annotated[int, whole(2, 100)] = 31
    """Frames, one to a noise."""
    steps: Annotated[int, whole(2)] = 2000
    """Training steps behind each frame."""
    dim: Annotated[int, whole(2, 64)] = 16
    """Input and embedding dimension; half of the coordinates, rounded down, are noisy."""
    batch_size: Count = 128
    """Samples per batch."""
    seed: Seed = 0
    """Random key."""

    def relations(self) -> None:
        """Check the fields against one another. Raises: BadInput."""
        super().relations()
        low, high = self.noise
        require(low < high, "noise", f"{low} {high}", "given smallest first")


def main(argv: Sequence[str]) -> None:
    """Command line. Raises: BadInput, CannotWrite."""
    request = parsed(Request, list(argv), prog="linsim animate")
    prepare_folder(request.out)
    configure_jax()
    from linsim.sweeps.results import write

    noises = np.linspace(*request.noise, request.frames)
    content = animated(frames(noises, trained(request, noises), seed=request.seed))
    path = write(content, request.out / "collapse.gif")
    print(f"saved {path} ({request.frames} frames, {len(content) / 1000:.0f} kB)")


def trained(request: Request, noises: np.ndarray) -> np.ndarray:
    """The layers W (frames, d, d) at the end of training, all from the same start and batches."""
    import jax

    from linsim.training.run import Run, train

    noisy = request.dim // 2
    run = Run(
        learning_rate=0.128,
        dim=request.dim,
        noisy_dims=noisy,
        batch_size=request.batch_size,
        record_at=(0, request.steps),
    )
    key = jax.random.key(request.seed)

    def of_noise(noise: Any) -> Any:
        return train(replace(run, noise=noise), key).trajectory.weights[0][-1]

    return np.asarray(jax.jit(jax.vmap(of_noise))(noises.astype(np.float32)))


def frames(noises: np.ndarray, layers: np.ndarray, *, seed: int) -> "list[Image]":
    """A picture of each layer. Args: noises (F,); layers (F, d, d); seed of the samples shown."""
    from linsim.studies import style

    dim = layers.shape[1]
    x = np.random.default_rng(seed).normal(size=(SHOWN, dim))
    _, values, vt = np.linalg.svd(layers)
    embeddings = np.einsum("nd,fkd,fk,fke->fne", x, vt, values, vt)
    counts = np.sum(values < 0.01 * values[:, :1], axis=1)
    found = []
    with style.look():
        for index, noise in enumerate(noises):
            drawn = style.figure(style.PAGE, 2.3)
            left, middle, right = drawn.subplots(1, 3)
            _scatter(left, embeddings[index], float(np.abs(embeddings).max()))
            _spectrum(middle, values[index], dim - dim // 2, float(values.max()))
            _counts(right, noises, counts, index, dim)
            drawn.suptitle(f"noise {noise:.2f}: {counts[index]} of {dim} dimensions have collapsed")
            found.append(_pixels(drawn))
    return found


def _scatter(axis: "Axes", embeddings: np.ndarray, limit: float) -> None:
    from linsim.studies import style

    clean, noisy = embeddings[:, 0], embeddings[:, -1]
    axis.plot(clean, noisy, "o", color=style.INK, markersize=1.8, **style.MEASURED)
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), title="embeddings")
    axis.set_xlabel("a clean direction", color=style.CLEAN)
    axis.set_ylabel("a noisy direction", color=style.NOISY)


def _spectrum(axis: "Axes", values: np.ndarray, clean: int, highest: float) -> None:
    from linsim.studies import style

    rank = np.arange(1, len(values) + 1)
    style.decades(axis, "y", 1e-6 * highest, 3 * highest)
    for colour, mark, modes in (
        (style.CLEAN, "o", slice(0, clean)),
        (style.NOISY, "^", slice(clean, None)),
    ):
        axis.plot(rank[modes], values[modes], color=colour, marker=mark, **style.MEASURED)
        hidden = values[modes] < 1e-6 * highest
        style.below(axis, rank[modes][hidden], colour)
    axis.axhline(0.01 * values[0], **style.CUTOFF)
    style.ranks(axis, len(values))
    axis.set(ylabel="singular value of W", title="collapsed below 1 % of the largest")


def _counts(axis: "Axes", noises: np.ndarray, counts: np.ndarray, index: int, dim: int) -> None:
    from linsim.studies import style

    seen = slice(0, index + 1)
    axis.axvline(np.sqrt(2), **style.THRESHOLD)
    axis.plot(noises[seen], counts[seen], "o-", color=style.INK, linewidth=0.6)
    axis.set(xlabel="noise (standard deviation)", ylabel="collapsed dimensions")
    axis.set(xlim=(noises[0], noises[-1] + 0.02), ylim=(-0.5, dim + 0.5), title="threshold √2")
    style.whole_ticks(axis.yaxis)


def _pixels(drawn: Any) -> "Image":
    """A figure in the colours of a palette."""
    from linsim.studies import style

    return style.quantised(drawn, DPI, colours=64)


def animated(pictures: "Sequence[Image]") -> bytes:
    """Pictures as a GIF that starts over again."""
    buffer, shown = io.BytesIO(), [MILLISECONDS] * len(pictures)
    shown[-1] *= 10
    first, *others = pictures
    first.save(
        buffer, "gif", save_all=True, append_images=others, duration=shown, loop=0, optimize=True
    )
    return buffer.getvalue()
