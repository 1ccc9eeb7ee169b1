"""Gradients of one batch: over several processes, and in less memory than the batch would take.

The loss needs the vectors of the whole batch; the encoder's activations are needed only for its own
backward pass. So the vectors are detached from the encoder, the loss gives their gradients, and
these are passed back through the encoder. With `chunk_size` that is done chunk by chunk: each is
encoded a second time, with the same dropout (GradCache, Gao et al. 2021,
https://arxiv.org/abs/2101.06983).

Each process encodes its shard of the batch and computes the loss over the vectors of all, so that
the gradients of the shards add up to those of the whole batch.
"""

import itertools
from collections.abc import Callable

import torch

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokens, token_batches
from dpr.training.batch import Batch

# Tokens in a forward pass on a CPU, padding included: less padding and smaller activations than in
# one pass over the batch, so less time and memory. A GPU has room for all.
CPU_TOKENS = 2048


class EncodedTexts:
    """The vectors of some texts, and the backward pass through their encoder.

    Args:
        chunk_size: texts in a forward pass, whose activations are then dropped; None keeps all.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        tokens: list[Tokens],
        role: Role,
        format: str,
        chunk_size: int | None,
    ):
        self.encoder, self.tokens, self.role, self.format = encoder, tokens, role, format
        self.keep_graph = chunk_size is None or chunk_size >= len(tokens)
        # Texts of similar length share a pass, which keeps padding low.
        if self.keep_graph and encoder.device.type == "cpu":
            self.chunks = list(token_batches(tokens, CPU_TOKENS))
        else:
            by_length = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
            size = max(1, len(tokens) if chunk_size is None else min(chunk_size, len(tokens)))
            self.chunks = [by_length[at : at + size] for at in range(0, len(by_length), size)]
        self.random_states: list[dict[str, torch.Tensor]] = []
        vectors = [self._first_forward(chunk) for chunk in self.chunks]
        none = torch.zeros(0, encoder.dimension, device=encoder.device)
        order = torch.tensor(list(itertools.chain(*self.chunks)), dtype=torch.long)
        self.vectors = torch.cat([none, *vectors])[order.argsort()]

    def _first_forward(self, chunk: list[int]) -> torch.Tensor:
        if not self.keep_graph:  # the second forward pass will need the same dropout
            self.random_states.append(runtime.random_state(self.encoder.device))
        with torch.set_grad_enabled(self.keep_graph):
            return self._forward(chunk)

    def _forward(self, chunk: list[int]) -> torch.Tensor:
        with formats.autocast(self.format, self.encoder.device):
            return self.encoder([self.tokens[i] for i in chunk], self.role).float()

    def backward(self, gradient: torch.Tensor) -> None:
        """Add to the parameters' gradients, given the (N, D) gradient of the vectors."""
        if not self.tokens:  # a batch smaller than the number of processes
            return
        if self.keep_graph:
            self.vectors.backward(gradient)
            return
        device = self.encoder.device
        for chunk, state in zip(self.chunks, self.random_states, strict=True):
            devices = [device] if device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices):  # so that later draws are unaffected
                runtime.set_random_state(state, device)
                vectors = self._forward(chunk)
            vectors.backward(gradient[chunk])


def forward_backward(
    encoder: DualEncoder,
    batch: Batch,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    format: str,
    chunk_size: int | None,
    processes: ProcessGroup,
) -> torch.Tensor:
    """Add the gradients of `loss(query vectors, passage vectors)` to the encoder's parameters.

    They are the gradients of this process' shard: `processes.sum_gradients` must follow. Passages
    that a batch holds as vectors get none.

    Args:
        batch: the whole batch, the same in every process.
    Returns: the loss, the same in every process.
    """
    leaves, shards = [], []
    roles: tuple[tuple[list[Tokens] | torch.Tensor, Role], ...] = (
        (batch.queries, "query"),
        (batch.passages, "passage"),
    )
    for tokens, role in roles:
        if isinstance(tokens, torch.Tensor):
            leaves.append(tokens.to(encoder.device))
            continue
        shard = processes.shard(len(tokens))
        encoded = EncodedTexts(encoder, tokens[shard], role, format, chunk_size)
        vectors = processes.gather(encoded.vectors.detach(), len(tokens))
        leaves.append(vectors.requires_grad_())
        shards.append((encoded, shard))
    value = loss(*leaves)
    value.backward()
    for leaf, (encoded, shard) in zip(leaves, shards, strict=False):  # fixed passages come last
        assert leaf.grad is not None
        encoded.backward(leaf.grad[shard])
    return value.detach()
