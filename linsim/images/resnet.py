"""Convolutional residual encoders for small images (paper, section 6: Tables 1 and 2 use a ResNet).

ResNet-18 with the stem that is usual for 32 x 32 pixels, and narrower or shallower ones. Parameters
are float32 (or float64); what lies between pixels and the pooled representation is computed in the
dtype that the caller names. Images are (N, H, W, C).
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, Float, PRNGKeyArray

from linsim.arrays import Array
from linsim.images.names import NormName

Maps = Float[Array, "N height width channels"]
Inner = Float[Array, "N rows columns k"]
RESNET18 = (2, 2, 2, 2)
GROUP = 16  # channels per group where that divides a layer's channels, else all are one group
EPSILON = 1e-5


class Convolution(eqx.Module):
    """Convolution without bias, its edges padded with zeros so that stride 1 keeps the size."""

    weight: Float[Array, "size size channels out"]
    stride: int = eqx.field(static=True)

    def __init__(
        self, key: PRNGKeyArray, size: int, channels: int, out: int, stride: int = 1
    ) -> None:
        """Independent Gaussian weights of variance 2 / (size^2 channels).

        Source: He et al. 2015.
        """
        scale = math.sqrt(2 / (size**2 * channels))
        self.weight = scale * jax.random.normal(key, (size, size, channels, out))
        self.stride = stride

    def __call__(self, x: Maps) -> Inner:
        """x * weight, in the dtype of x.

        Args: (N, H, W, channels).
        Returns: (N, H / stride, W / stride, out).
        """
        strides, layout = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
        edge = self.weight.shape[0] // 2
        padding = [(edge, edge)] * 2
        x, weight = jnp.asarray(x), jnp.asarray(self.weight, x.dtype)
        return jax.lax.conv_general_dilated(x, weight, strides, padding, dimension_numbers=layout)


class Norm(eqx.Module):
    """y = scale (x - m) / sqrt(v + eps) + shift for each channel.

    Over what the mean m and the variance v are taken is the subclass's.
    """

    scale: Float[Array, "channels"]
    shift: Float[Array, "channels"]

    def __init__(self, channels: int) -> None:
        """Scale 1 and shift 0."""
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)

    def __call__(self, x: Maps) -> Maps:
        """Statistics in the parameters' dtype. Args: x. Returns: as x."""
        values = self._values(x)
        mean, variance = self.statistics(values)
        slope = self.scale * jax.lax.rsqrt(variance + EPSILON)
        shift = self.shift - mean * slope
        return (values * slope[:, None] + shift[:, None]).reshape(x.shape).astype(x.dtype)

    def statistics(
        self, values: Float[Array, "N pixels channels"]
    ) -> tuple[Float[Array, "M channels"], Float[Array, "M channels"]]:
        """m and v, for each image or for all (M = 1)."""
        raise NotImplementedError

    def settled(self, x: Maps) -> "Norm":
        """The norm for images that must not see each other.

        It has the statistics of x, if it takes them over a batch.
        """
        return self

    def _values(self, x: Maps) -> Float[Array, "N pixels channels"]:
        return x.astype(self.scale.dtype).reshape(len(x), -1, len(self.scale))


class GroupNorm(Norm):
    """Over the pixels and one group of channels of each image by itself.

    Source: Wu and He 2018 (arXiv 1803.08494), section 3.
    """

    def statistics(
        self, values: Float[Array, "N pixels channels"]
    ) -> tuple[Float[Array, "N channels"], Float[Array, "N channels"]]:
        """m and v (N, channels), equal within a group."""
        count, _, channels = values.shape
        size = GROUP if channels % GROUP == 0 else channels
        moments = jnp.stack(
            [jnp.mean(values, axis=1), jnp.mean(values**2, axis=1)]
        )  # of each channel: contiguous, hence fast
        mean, square = jnp.repeat(
            jnp.mean(moments.reshape(2, count, -1, size), axis=3), size, axis=2
        )
        return mean, jnp.maximum(square - mean**2, 0.0)


class BatchNorm(Norm):
    """Over the pixels of all images of a batch, or with the statistics that it has `settled` on.

    Source: Ioffe and Szegedy 2015 (arXiv 1502.03167), Algorithm 1. In place of running averages the
    statistics are taken from many images at once after training, which is at least as good: Wu and
    Johnson 2021 (arXiv 2105.07576), section 3.
    """

    fixed: tuple[Float[Array, "1 channels"], Float[Array, "1 channels"]] | None

    def __init__(self, channels: int) -> None:
        """Scale 1 and shift 0, for the statistics of each batch."""
        super().__init__(channels)
        self.fixed = None

    def statistics(
        self, values: Float[Array, "N pixels channels"]
    ) -> tuple[Float[Array, "1 channels"], Float[Array, "1 channels"]]:
        """m and v (1, channels)."""
        if self.fixed is not None:
            return self.fixed
        mean = jnp.mean(values, axis=(0, 1))[None]
        return mean, jnp.maximum(jnp.mean(values**2, axis=(0, 1))[None] - mean**2, 0.0)

    def settled(self, x: Maps) -> "BatchNorm":
        """With the statistics of x."""
        fixed = self.statistics(self._values(x))
        return eqx.tree_at(lambda norm: norm.fixed, self, fixed, is_leaf=lambda leaf: leaf is None)


NORMS: dict[NormName, type[Norm]] = {"batch": BatchNorm, "group": GroupNorm}


class Block(eqx.Module):
    """relu(s(h) + f(h)), f two 3 x 3 convolutions.

    s is the identity, or a 1 x 1 convolution where the shape changes.

    f = norm conv relu norm conv. A linear block is h + conv conv h: no norm, no ReLU (this project;
    paper, Fig. 10's condition).
    Source: He et al. 2016 (CVPR), Fig. 2 and section 4.1.
    """

    first: Convolution
    second: Convolution
    first_norm: Norm
    second_norm: Norm
    shortcut: tuple[Convolution, Norm] | None
    linear: bool = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        channels: int,
        out: int,
        stride: int,
        norm: type[Norm],
        *,
        linear: bool = False,
    ) -> None:
        """A block with random weights.

        Args: key; channels in and out; stride of the first convolution; norm; linear, only where
        the shape is kept.
        """
        key_first, key_second, key_shortcut = jax.random.split(key, 3)
        self.first, self.second = (
            Convolution(key_first, 3, channels, out, stride),
            Convolution(key_second, 3, out, out),
        )
        self.first_norm, self.second_norm = norm(out), norm(out)
        same = stride == 1 and channels == out
        self.shortcut = (
            None if same else (Convolution(key_shortcut, 1, channels, out, stride), norm(out))
        )
        self.linear = linear

    def __call__(self, h: Maps) -> Inner:
        """Args: h (N, H, W, channels). Returns: (N, H / stride, W / stride, out)."""
        if self.linear:
            return h + self.second(self.first(h))
        inner = jax.nn.relu(self.first_norm(self.first(h)))
        outer = self.second_norm(self.second(inner))
        if self.shortcut is not None:
            convolution, norm = self.shortcut
            h = norm(convolution(h))
        return jax.nn.relu(h + outer)

    def settled(self, h: Inner) -> "Block":
        """The block with its norms settled on h. Args: as `__call__`."""
        if self.linear:
            return self
        first = self.first(h)
        first_norm = self.first_norm.settled(first)
        norms = [first_norm, self.second_norm.settled(self.second(jax.nn.relu(first_norm(first))))]
        if self.shortcut is not None:
            convolution, norm = self.shortcut
            norms.append(norm.settled(convolution(h)))
        return eqx.tree_at(Block.norms, self, norms)

    def norms(self) -> list[Norm]:
        """All norms of the block."""
        return [
            self.first_norm,
            self.second_norm,
            *(() if self.shortcut is None else self.shortcut[1:]),
        ]


class Encoder(eqx.Module):
    """A stem, stages of residual blocks, and the mean over what pixels are left.

    The stages have width, 2 width, 4 width, .. channels.
    """

    stem: Convolution
    stem_norm: Norm
    blocks: tuple[Block, ...]

    def __init__(
        self,
        key: PRNGKeyArray,
        channels: int,
        width: int = 64,
        blocks: tuple[int, ...] = RESNET18,
        *,
        norm: NormName = "batch",
        linear: bool = False,
    ) -> None:
        """A 3 x 3 stem of stride 1 without pooling, then `blocks` per stage.

        Each stage but the first halves the size.

        Source: He et al. 2016, Table 1 (ResNet-18: width 64, four stages of two blocks) and section
        4.2 (narrow ones of three stages); the stem: Chen et al. 2020, appendix B.9.
        Args: key; channels of the images; width; blocks per stage, the last at least 2, so that the
        last block keeps the shape of what enters it; norm: one of NORMS; linear: whether the last
        block is.
        Raises: ValueError.
        """
        if blocks[-1] < 2:
            raise ValueError(f"blocks {blocks} must end in at least 2")
        outs = [width * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
        strides = [
            2 if stage > 0 and index == 0 else 1
            for stage, count in enumerate(blocks)
            for index in range(count)
        ]
        key_stem, *keys = jax.random.split(key, 1 + len(outs))
        kinds = [False] * (len(outs) - 1) + [linear]
        self.stem, self.stem_norm = Convolution(key_stem, 3, channels, width), NORMS[norm](width)
        layout = zip(keys, [width, *outs[:-1]], outs, strides, kinds, strict=True)
        self.blocks = tuple(
            Block(k, before, out, stride, NORMS[norm], linear=kind)
            for k, before, out, stride, kind in layout
        )

    def __call__(
        self, x: Maps, dtype: DTypeLike | None = None
    ) -> tuple[Inner, Float[Array, "N k"]]:
        """What enters the last residual block, and the representation r = pool(block(h)).

        Args: x (N, H, W, C); dtype of the computation (default: that of x).
        Returns: h (N, H', W', k) in that dtype; r (N, k) in the parameters' dtype; k =
        `representation_width`.
        """
        h = jax.nn.relu(self.stem_norm(self.stem(x.astype(dtype or x.dtype))))
        for block in self.blocks[:-1]:
            h = block(h)
        return h, self.represent(h)

    def settled(self, x: Maps, dtype: DTypeLike | None = None) -> "Encoder":
        """The encoder whose norms have settled on these images, as it stands after training.

        Args: as `__call__`.
        """
        h = self.stem(x.astype(dtype or x.dtype))
        norm, blocks = self.stem_norm.settled(h), []
        h = jax.nn.relu(norm(h))
        for block in self.blocks:
            blocks.append(block.settled(h))
            h = blocks[-1](h)
        return eqx.tree_at(
            lambda encoder: (encoder.stem_norm, encoder.blocks), self, (norm, tuple(blocks))
        )

    def represent(self, h: Inner) -> Float[Array, "N k"]:
        """r = pool(block(h)), the last block's output.

        Args: h as `__call__` returns it.
        Returns: r (N, k).
        """
        return self.pool(self.blocks[-1](h))

    def pool(self, h: Inner) -> Float[Array, "N k"]:
        """Mean over the pixels, in the parameters' dtype. Args: (N, H', W', k). Returns: (N, k)."""
        return jnp.mean(h.astype(self.stem_norm.scale.dtype), axis=(1, 2))


def representation_width(width: int, blocks: tuple[int, ...]) -> int:
    """Channels of h and r: width 2^(stages - 1).

    Args: width of the first stage; blocks per stage.
    """
    return width * 2 ** (len(blocks) - 1)


def compute_dtype() -> DTypeLike:
    """The dtype of the computation: bfloat16 on accelerators, the default float on the CPU.

    Accelerators multiply matrices fastest in bfloat16, which the CPU emulates.
    """
    return jnp.zeros(()).dtype if jax.default_backend() == "cpu" else jnp.bfloat16


def multiply_adds(encoder: Encoder, shape: tuple[int, int, int]) -> int:
    """Multiply-adds of the convolutions for one image, forward.

    The sum over layers of outputs x (size^2 channels).

    Args: encoder; shape (H, W, C) of an image. Training takes three times as many: the gradients of
    inputs and of weights.
    """
    program = jax.make_jaxpr(lambda network, x: network(x))(encoder, jnp.zeros((1, *shape)))
    layers = [each for each in program.eqns if each.primitive.name == "conv_general_dilated"]
    return sum(
        math.prod(each.outvars[0].aval.shape) * math.prod(each.invars[1].aval.shape[:-1])
        for each in layers
    )  # type: ignore[attr-defined]
