"""Gradients of one batch: over several processes, and in less memory than the batch would take.

The loss needs the vectors of the whole batch, but the encoder's activations are needed only while
it goes backward. So the vectors are cut off from the encoder, the loss gives their gradients, and
these go back through the encoder: at once where `chunk_size` is not set; else chunk by chunk, each
encoded a second time with the same dropout (Gao et al. 2021, "Scaling Deep Contrastive Learning
Batch Size under Memory Limited Setup", https://arxiv.org/abs/2101.06983).

Every process encodes its part of the batch and computes the loss over the vectors of all, so that
the gradients of the parts add up to that of the whole batch.
"""

import itertools
from collections.abc import Callable

import torch

from dpr import runtime
from dpr.encoder import DualEncoder, Role, Tokens, token_batches
from dpr.training.world import World

# In a forward pass on a CPU, padding included: less padding and smaller activations than those of
# the whole batch at once, so less time and memory. A GPU has room for all.
CPU_TOKENS = 2048


class Encoded:
    """The vectors of some texts, and the way back through the encoder.

    Args:
        chunk_size: texts in a forward pass whose activations are dropped; None: all are kept.
    """

    def __init__(
        self,
        encoder: DualEncoder,
        tokens: list[Tokens],
        role: Role,
        precision: str,
        chunk_size: int | None,
    ):
        self.encoder, self.tokens, self.role, self.precision = encoder, tokens, role, precision
        self.keep_graph = chunk_size is None or chunk_size >= len(tokens)
        # Texts of similar length share a pass, and little of it is padding.
        if self.keep_graph and encoder.device.type == "cpu":
            self.chunks = list(token_batches(tokens, CPU_TOKENS))
        else:
            order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
            size = max(1, len(tokens) if self.keep_graph else chunk_size)
            self.chunks = [order[at : at + size] for at in range(0, len(order), size)]
        self.states: list[dict[str, torch.Tensor]] = []
        vectors = [self._first_pass(chunk) for chunk in self.chunks]
        none = torch.zeros(0, encoder.dimension, device=encoder.device)
        order = torch.tensor(list(itertools.chain(*self.chunks)), dtype=torch.long)
        self.vectors = torch.cat([none, *vectors])[order.argsort()]

    def _first_pass(self, chunk: list[int]) -> torch.Tensor:
        if not self.keep_graph:  # a second pass will need the same dropout
            self.states.append(runtime.random_state(self.encoder.device))
        with torch.set_grad_enabled(self.keep_graph):
            return self._forward(chunk)

    def _forward(self, chunk: list[int]) -> torch.Tensor:
        with runtime.autocast(self.precision, self.encoder.device):
            return self.encoder([self.tokens[i] for i in chunk], self.role).float()

    def backward(self, gradient: torch.Tensor) -> None:
        """Add to the parameters' gradients what (N, D) gradients of the vectors make of them."""
        if not self.tokens:  # this process has no part of a small batch
            return
        if self.keep_graph:
            self.vectors.backward(gradient)
            return
        device = self.encoder.device
        for chunk, state in zip(self.chunks, self.states, strict=True):
            devices = [device] if device.type == "cuda" else []
            with torch.random.fork_rng(devices=devices):  # what comes later draws as it would have
                runtime.set_random_state(state, device)
                vectors = self._forward(chunk)
            vectors.backward(gradient[chunk])


def accumulate(
    encoder: DualEncoder,
    queries: list[Tokens],
    passages: list[Tokens],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    precision: str,
    chunk_size: int | None,
    world: World,
) -> torch.Tensor:
    """Add the gradients of `loss(query vectors, passage vectors)` to the encoder's parameters.

    The gradients are those of this process' part of the batch: `world.sum_gradients` follows.

    Args:
        queries, passages: of the whole batch, the same in every process.
    Returns: the loss, the same in every process.
    """
    leaves, parts = [], []
    for tokens, role in ((queries, "query"), (passages, "passage")):
        part = world.part(len(tokens))
        encoded = Encoded(encoder, tokens[part], role, precision, chunk_size)
        leaves.append(world.gather(encoded.vectors.detach(), len(tokens)).requires_grad_())
        parts.append((encoded, part))
    value = loss(*leaves)
    value.backward()
    for leaf, (encoded, part) in zip(leaves, parts, strict=True):
        encoded.backward(leaf.grad[part])
    return value.detach()
