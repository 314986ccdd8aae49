"""The theory of collapse on one's own pairs of views: `linsim diagnose views X Y`.

Data flow: pairs -> second moments -> directions and their ratios on unseen rows -> settled
strengths -> what the pairs themselves say -> verdict, table and picture. Importing it loads no
numerical library.
"""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from linsim.diagnose.views.result import Views

__all__ = ["views"]


def views(
    x: Any,
    y: Any,
    *,
    batch_size: int = 128,
    anchors: Literal["auto", "first", "both"] = "auto",
    components: int | None = None,
    image_shape: tuple[int, ...] | None = None,
    train: int = 0,
    bootstrap: int = 1000,
    seed: int = 0,
) -> "Views":
    """Which directions a linear map trained with InfoNCE on such pairs of views keeps or loses.

        Sigma_n v = r Sigma v,   lost if r >= 2

    with the covariance Sigma of the anchors and the second moment Sigma_n of the augmentation, the
    difference of the views; and how strong it leaves those it keeps. The loss is the distance loss
    (the paper's Eq. 2), and the map has as many outputs as directions or more.

    Source: this project, docs/views.md, "What is predicted". Mean over anchors, NumPy float64.

    Args:
        x: One view of every sample, NumPy, JAX or PyTorch: inputs, or features at any layer, shape
            (N, d), or (N, ...), which is flattened. Rows must be independent samples.
        y: Another view of the same samples in the same order, of the same shape.
        batch_size: The number of pairs in a batch that one trains with, from 2 to N.
        anchors: Which views are anchors and negatives: the first alone, or both in turn. "auto" is
            both where the views look like two draws of one augmentation, and else the first.
        components: How many leading principal components of the anchors to look at; all
            coordinates if None.
        image_shape: (height, width), with a last or first entry 1 or 3 for colours, if the d values
            are images; by default that of x where it has more than two axes.
        train: How many maps to train on these pairs as a check, each with its own seed.
        bootstrap: The number of bootstrap samples for intervals.
        seed: For bootstrap samples and batches.

    Returns:
        The result: values by direction, verdict and reasons, `.table()`, `.figure()`, `.to_dict()`.

    Raises:
        ValueError: In one sentence, if the arrays are no finite pairs of at least four rows for
            each direction, or a setting is out of range.

    Example:
        Noise of three times the data's variance in the last of three coordinates of one view:

        >>> import numpy as np
        >>> x, noise = np.random.default_rng(0).standard_normal((2, 4000, 3))
        >>> found = views(x, x + noise * np.sqrt([0.5, 0.5, 3.0]), batch_size=64)
        >>> found.outcomes.tolist(), found.ratios.round(1).tolist()
        (['lost', 'kept', 'kept'], [3.1, 0.5, 0.5])
    """
    from linsim.diagnose.views.result import Views
    from linsim.diagnose.views.settings import Settings

    return Views.of(
        x,
        y,
        Settings(
            batch_size=batch_size,
            anchors=anchors,
            components=components,
            image_shape=image_shape or (),
            train=train,
            bootstrap=bootstrap,
            seed=seed,
        ),
    )
