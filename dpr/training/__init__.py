"""Training a dual encoder with in-batch negatives.

Pairs become batches (`pairs`, `batch`), batches become gradients (`gradients`, `loss`), and the
`trainer` takes steps with them, on one process or several (`processes`).
"""
