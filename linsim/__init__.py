"""linsim: the theory of dimensional collapse in self-supervised learning, simulated and verified.

Follows Jing, Vincent, LeCun, Tian, "Understanding Dimensional Collapse in Contrastive Self-supervised Learning"
(ICLR 2022, arXiv 2110.09348), called "the paper" in every docstring.

Data flows one way: config (cli) -> data -> models -> dynamics -> spectra -> sweep -> results -> plots.
`linsim.theory` holds closed forms only and imports nothing from that chain; experiments hold the two against each other.
Importing `linsim` alone loads no numerical library.
"""

__version__ = "0.1.0"
