"""The ledger: each statement of the theory as a check that can fail, with the verdict that it is
known to give.

`ledger` says what a claim is and how evidence becomes a verdict; the other modules hold the claims,
grouped by section of the paper; `catalogue` gathers them; `command` is `python -m linsim verify`.
To add claims, write a module like `gradients` and name it in `catalogue`.
"""
