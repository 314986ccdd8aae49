"""What can be asked of `linsim diagnose views`. Imports no numerical library."""

from dataclasses import dataclass
from typing import Annotated, Literal

from linsim.config import Checked, Natural, Several, require, whole

COLOURS = (1, 3)


@dataclass(kw_only=True)
class Settings(Checked):
    """Which directions of one's own data a linear map trained with InfoNCE loses."""

    batch_size: Annotated[int, whole(2)] = 128
    """Pairs in a batch of the training that is asked about."""
    anchors: Literal["auto", "first", "both"] = "auto"
    """Views that anchors and negatives come from; auto: both if they look like draws of one
    augmentation, else the first.
    """
    components: Annotated[int, whole(1)] | None = None
    """Look at so many leading principal components of the anchors only."""
    image_shape: Annotated[tuple[int, ...], Several(may_be_empty=True, may_repeat=True)] = ()
    """HEIGHT WIDTH, HEIGHT WIDTH COLOURS or COLOURS HEIGHT WIDTH, if rows are images: draws the
    directions.
    """
    train: Natural = 0
    """Also train so many maps on these pairs, and compare."""
    bootstrap: Annotated[int, whole(100)] = 1000
    """Bootstrap samples for 95 % intervals."""
    seed: Natural = 0
    """For bootstrap samples and batches."""

    def relations(self) -> None:
        """See `Checked`."""
        shape = self.image_shape
        require(
            not shape
            or (
                (len(shape) == 2 or (len(shape) == 3 and bool({shape[0], shape[2]} & {*COLOURS})))
                and min(shape) > 0
            ),
            "image_shape",
            " ".join(map(str, shape)),
            "HEIGHT WIDTH, or these with 1 or 3 colours before or behind",
        )
