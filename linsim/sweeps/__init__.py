"""Many runs: grids of runs as compiled chunks, kept in an archive, labelled with their provenance.

- settings: what every study can be told about training and execution
- sweep: a grid of runs, and the one dataset that they are merged into
- programs, engine: compiled chunks, and the engine that solves what is missing of a sweep
- archive, code: trained runs under a name that says what they are, and which code computed them
- elsewhere: chunks trained by other processes, here or on a Dask cluster
- cluster: processes that were started together (srun) and share a sweep
- results: labelled datasets, written atomically
- runtime: how JAX is started
"""
