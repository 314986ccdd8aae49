"""Many runs: grids of runs as compiled chunks, kept in a library, shared by processes, labelled
with their provenance.

    settings             what every study can be told about training and execution engine
    `Sweep` and `Engine`: from one run to a grid of runs library, code        trained runs under a
    name that says what they are, and which code computed them cluster              several
    processes that share a sweep results              labelled datasets, written atomically runtime
    how JAX is started
"""
