"""Images per second of a convolutional encoder against the device's floor.

    python benchmarks/resnet.py cpu        (or gpu: the preset of `experiments/directclr.py`)

The floor is the time that the convolutions' multiply-adds, forward and twice backward, take at
the rate of one large matrix product on this device, in the dtype of the computation. Random images,
each seen as two views. What lies above the floor is split into the encoder's part (convolutions
that are slower than the product; norms, ReLUs), the views, and the rest (optimiser, probe).
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from linsim.studies.directclr import CPU, GPU
from linsim.sweeps.runtime import configure_jax

PRESETS = {"cpu": CPU, "gpu": GPU}
REPEATS = 5
MATRIX = {"cpu": 2048}  # rows of the product's factors; on accelerators 8192


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """The shortest time of REPEATS calls, once compiled."""
    import jax

    jax.block_until_ready(function(*arguments))
    taken = []
    for _ in range(REPEATS):
        clock = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - clock)
    return min(taken)


def matrix_rate(dtype: Any) -> float:
    """Multiply-adds per second of a large matrix product."""
    import jax
    import jax.numpy as jnp

    size = MATRIX.get(jax.default_backend(), 8192)
    factor = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    return size**3 / seconds(jax.jit(jnp.matmul), factor, factor)


def main(preset: str = "cpu") -> None:
    """Measure and print."""
    configure_jax()
    import jax
    import jax.numpy as jnp

    from linsim import losses
    from linsim.images import augment, convolutional, projectors, resnet

    settings = PRESETS[preset]
    size, batch, dtype = settings.image_size or 32, settings.batch_size, resnet.compute_dtype()
    run = convolutional.ConvolutionalRun(
        projector=projectors.Subvector(d0=settings.d0),
        learning_rate=settings.learning_rate,
        steps=settings.steps,
        batch_size=batch,
        width=settings.width,
        blocks=settings.blocks,
    )
    shape, key, count = (size, size, 3), jax.random.key(0), 4 * batch
    stored = jax.random.randint(key, (count, *shape), 0, 256).astype(jnp.uint8)
    held = convolutional.Held(pixels=stored, labels=jnp.zeros(count, int), classes=10)
    draw = convolutional.Draw(key, jnp.arange(count))
    state = convolutional.begin(run, draw, held)
    encoder, pixels = state.params[0], convolutional.pixels_of(held.pixels[: 2 * batch])

    def loss(network: resnet.Encoder, x: Any) -> Any:
        return losses.ntxent(*jnp.split(network(x, dtype)[1], 2))

    def views(key: Any, x: Any) -> Any:
        return augment.simclr_view(key, x, run.crop, run.jitter)

    adds = resnet.multiply_adds(encoder, shape)
    floor = 3 * 2 * batch * adds / matrix_rate(dtype)
    learned = seconds(jax.jit(jax.grad(loss)), encoder, pixels)
    seen = seconds(jax.jit(views), key, pixels)
    whole = seconds(lambda: convolutional.epoch(run, draw, held, state, 0)) / 4
    device = jax.devices()[0].device_kind
    print(f"{device}, {jnp.dtype(dtype).name}: {adds / 1e6:.2f} million multiply-adds per view")
    speeds = f"floor {batch / floor:.0f} images/s, measured {batch / whole:.0f}"
    print(f"{speeds}: {floor / whole:.0%} of it")
    parts = (whole, floor, learned - floor, seen, whole - learned - seen)
    shown = [f"{1e3 * part:.1f}" for part in parts]
    print(
        f"a step of {batch} images, ms: {shown[0]} = floor {shown[1]} + encoder {shown[2]} + ",
        end="",
    )
    print(f"views {shown[3]} + rest {shown[4]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
