"""Images per second of `experiments/directclr.py --preset cpu|gpu` against the device's floor: `python benchmarks/resnet.py cpu`.

The floor is the time that the convolutions' multiply-adds, forward and twice backward, take at the rate of one large matrix
product on this device, in the dtype of the computation. Random images, each seen as two views. What lies above the floor is split
into the encoder's part (convolutions that are slower than the product; norms, ReLUs), the views, and the rest (optimiser, probe).
"""

import sys
import time

from linsim.config import at, configure_jax
from linsim.presets import RESNETS

REPEATS = 5
MATRIX = {"cpu": 2048}  # rows of the product's factors; on accelerators 8192


def seconds(function, *arguments) -> float:
    """The shortest time of REPEATS calls, once compiled."""
    import jax

    jax.block_until_ready(function(*arguments))
    taken = []
    for _ in range(REPEATS):
        clock = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        taken.append(time.perf_counter() - clock)
    return min(taken)


def matrix_rate(dtype) -> float:
    """Multiply-adds per second of a large matrix product."""
    import jax
    import jax.numpy as jnp

    size = MATRIX.get(jax.default_backend(), 8192)
    factor = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    return size**3 / seconds(jax.jit(jnp.matmul), factor, factor)


def main(preset: str = "cpu") -> None:
    """Measure and print."""
    configure_jax(x64=False)
    import jax
    import jax.numpy as jnp

    from linsim import augment, losses, pretrain, resnet

    config = at(RESNETS[preset], projectors="directclr")
    size, batch, dtype = config.image_size or 32, config.batch_size, resnet.compute_dtype()
    shape, key = (size, size, 3), jax.random.key(0)
    held = pretrain.Held(jax.random.randint(key, (4 * batch, *shape), 0, 256).astype(jnp.uint8), jnp.zeros(4 * batch, int))
    program, run = pretrain.Program(config, 3, 10), pretrain.Run(key, jnp.arange(4 * batch))
    state = program.begin(run)
    encoder, pixels = state.params[0], pretrain.pixels_of(held.pixels[: 2 * batch])

    def loss(network, x):
        return losses.ntxent(*jnp.split(network(x, dtype)[1], 2))

    count = resnet.multiply_adds(encoder, shape)
    floor = 3 * 2 * batch * count / matrix_rate(dtype)
    learned = seconds(jax.jit(jax.grad(loss)), encoder, pixels)
    seen = seconds(jax.jit(lambda k, x: augment.simclr_view(k, x, config.crop, config.jitter)), key, pixels)
    whole = seconds(lambda: program.epoch(state, held, run, 0)) / 4
    print(f"{jax.devices()[0].device_kind}, {jnp.dtype(dtype).name}: {count / 1e6:.2f} million multiply-adds per view")
    print(f"floor {batch / floor:.0f} images/s, measured {batch / whole:.0f}: {floor / whole:.0%} of it")
    print(
        f"a step of {batch} images, ms: {1e3 * whole:.1f} = floor {1e3 * floor:.1f} + encoder {1e3 * (learned - floor):.1f} + ",
        end="",
    )
    print(f"views {1e3 * seen:.1f} + rest {1e3 * (whole - learned - seen):.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
