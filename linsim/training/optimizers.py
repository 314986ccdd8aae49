"""Optimisers by name, and what the theory of gradient flow covers."""

from typing import cast

import optax

from linsim.training.names import OptimizerName
from linsim.training.records import Real, record, static


@record
class Optimizer:
    """An optax optimiser by name, with its momentum (of "momentum") and weight decay."""

    name: OptimizerName = static("sgd")
    momentum: float = static(0.9)
    weight_decay: float = static(0.0)

    def at(self, learning_rate: Real) -> optax.GradientTransformation:
        """The optimiser at a learning rate, which may be traced."""
        rate = cast(float, learning_rate)
        kinds = {
            "sgd": lambda: optax.sgd(rate),
            "momentum": lambda: optax.sgd(rate, momentum=self.momentum),
            "adam": lambda: optax.adam(rate),
            "adamw": lambda: optax.adamw(rate, weight_decay=self.weight_decay),
        }
        if self.weight_decay > 0 and self.name != "adamw":
            return optax.chain(optax.add_decayed_weights(self.weight_decay), kinds[self.name]())
        return kinds[self.name]()


AnyOptimizer = Optimizer | optax.GradientTransformation


def at(optimizer: AnyOptimizer, learning_rate: Real) -> optax.GradientTransformation:
    """The optax optimiser of a run: a named one at the run's learning rate, or one that was made
    from Python, as it is.
    """
    return optimizer.at(learning_rate) if isinstance(optimizer, Optimizer) else optimizer


def is_plain_descent(optimizer: AnyOptimizer) -> bool:
    """Whether it is gradient descent without momentum and decay, which gradient flow describes at
    small learning rates.
    """
    return (
        isinstance(optimizer, Optimizer) and optimizer.name == "sgd" and optimizer.weight_decay == 0
    )
