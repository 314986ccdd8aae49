"""One run: its data and views, its network and loss, its descent or flow, and what is kept of it.

- names, records: choices by name; typed values that compiled programs take
- data, noise: Gaussian batches of view pairs
- models, starts: networks as tuples of matrices, and their initial layers
- softmax, contrast, loss: the closed-form step; a loss as an object that carries its theory
- optimizers, dynamics: gradient descent and gradient flow
- run, observe: `Run`, `begin`, `step`, `train`; `simulate` and the observables
- objectives, redundancy, gaussianity: other losses, with or without a head behind the layers
- objective_run: runs under these
"""
