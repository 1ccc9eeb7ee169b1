"""Pooling: token states to one vector a text. CONTRIBUTING.md says how to add a pooling."""

import torch


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool the last hidden states over the tokens of each text.

    Args:
        states: (B, T, D) last hidden states, float.
        mask: (B, T), 1 for a token, 0 for padding, which is on the right.
        pooling: "cls" takes the first token, "mean" the mean of the tokens, "max" the maximum of
            each dimension, "last" the last token. ("pooler" is the transformer's own, see
            `TextEncoder`.)
    Returns: (B, D).
    """
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    inside = mask.unsqueeze(-1).bool()
    if pooling == "mean":
        return (states * inside).sum(1) / inside.sum(1)
    if pooling == "max":
        return states.masked_fill(~inside, -torch.inf).amax(1)
    raise ValueError(f"unknown pooling {pooling!r}")
