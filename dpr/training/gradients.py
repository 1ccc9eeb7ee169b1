"""Gradients of one batch: over several processes, and in less memory than the batch would take.

The loss needs the vectors of the whole batch, but not the encoder's activations. So the vectors are
detached from the encoder, and the loss gives their gradients. Each forward pass then propagates its
part back through the encoder. A pass without its activations first runs a second time, with the
same dropout (GradCache, Gao et al. 2021, https://arxiv.org/abs/2101.06983).

Each process encodes its shard of the batch and computes the loss over all vectors. So the shards'
gradients add up to the gradient of the whole batch.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.encoders import formats
from dpr.encoders.dual_encoder import DualEncoder
from dpr.encoders.spec import Role
from dpr.encoders.tokens import Tokens, token_batches
from dpr.training.batch import Batch

# Tokens in a forward pass on a CPU, including padding. Several passes have less padding and smaller
# activations than a single one, so less time and memory. A GPU encodes the batch at once.
CPU_TOKENS = 2048


class ActivationBudget:
    """Memory for the activations of a step, in GiB; None: unlimited.

    A forward pass beyond the budget runs twice, to the same bits. So the budget changes time and
    memory, but no result.
    """

    def __init__(self, gib: float | None = None) -> None:
        self.bytes = math.inf if gib is None else gib * 2**30
        self.used = self.bytes_per_token = 0.0

    def reset(self) -> None:
        self.used = 0.0

    def allows(self, tokens: int) -> bool:
        """Whether a pass fits, if a token takes as much memory as in the last pass."""
        return self.used + self.bytes_per_token * tokens <= self.bytes

    @contextmanager
    def spend(self, tokens: int) -> Iterator[None]:
        """Count the memory of the activations that a forward pass keeps."""
        if math.isinf(self.bytes):
            yield
            return
        sizes: dict[int, int] = {}  # bytes by address: tensors may share a storage

        def count(tensor: torch.Tensor) -> torch.Tensor:
            if not isinstance(tensor, torch.nn.Parameter):
                storage = tensor.untyped_storage()
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()  # an operation that kept its own result would never free it

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            yield
        spent = sum(sizes.values())
        self.used += spent
        self.bytes_per_token = spent / tokens


class ForwardOptions(NamedTuple):
    """How a batch goes through the encoder."""

    precision: str  # of the matrix products, see `formats.autocast`
    chunk_size: int | None  # texts in a pass, which then drops its activations; None: by the budget
    budget: ActivationBudget


class EncodedTexts:
    """Texts as vectors, and the backward pass through the encoder."""

    def __init__(
        self, encoder: DualEncoder, tokens: list[Tokens], role: Role, options: ForwardOptions
    ):
        self.encoder, self.tokens, self.role = encoder, tokens, role
        self.precision, chunk_size, self.budget = options
        self.may_keep = chunk_size is None or chunk_size >= len(tokens)
        # Texts of similar length share a pass, which keeps padding low.
        if self.may_keep and encoder.device.type == "cpu":
            self.chunks = list(token_batches(tokens, CPU_TOKENS))
        else:
            by_length = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
            size = max(1, len(tokens) if chunk_size is None else min(chunk_size, len(tokens)))
            starts = range(0, len(by_length), size)
            self.chunks = [by_length[start : start + size] for start in starts]
        # For each chunk: its vectors with their graph, or the random state for its dropout.
        self.kept: list[torch.Tensor | dict[str, torch.Tensor]] = []
        none = torch.zeros(0, encoder.dimension, device=encoder.device)
        vectors = torch.cat([none, *map(self._first_forward, self.chunks)])
        order = torch.tensor(list(itertools.chain(*self.chunks)), dtype=torch.long)
        self.vectors = vectors[order.argsort()]  # (N, D) float32

    def _first_forward(self, chunk: list[int]) -> torch.Tensor:
        size = len(chunk) * max(len(self.tokens[i]) for i in chunk)
        if self.may_keep and self.budget.allows(size):
            with self.budget.spend(size):
                vectors = self._forward(chunk)
            self.kept.append(vectors)
            return vectors.detach()
        self.kept.append(runtime.random_state(self.encoder.device))
        with torch.no_grad():
            return self._forward(chunk)

    def _forward(self, chunk: list[int]) -> torch.Tensor:
        with formats.autocast(self.precision, self.encoder.device):
            return self.encoder([self.tokens[i] for i in chunk], self.role).float()

    def backward(self, gradient: torch.Tensor) -> None:
        """Add to the parameters' gradients, given the (N, D) gradient of the vectors.

        In reverse order, as one graph of all passes would: the sums have the same bits.
        """
        for chunk in reversed(self.chunks):
            vectors = self.kept.pop()
            if isinstance(vectors, dict):
                device = self.encoder.device
                devices = [] if device.type == "cpu" else [device]  # the CPU's is always restored
                with torch.random.fork_rng(devices, device_type=device.type):
                    runtime.set_random_state(vectors, device)
                    vectors = self._forward(chunk)
            vectors.backward(gradient[chunk])


def forward_backward(
    encoder: DualEncoder,
    batch: Batch,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    options: ForwardOptions,
    processes: ProcessGroup,
) -> torch.Tensor:
    """Add the gradients of `loss(query vectors, passage vectors)` to the encoder's parameters.

    Of this process's shard only: call `processes.sum_gradients` after it.

    Args:
        batch: the whole batch, the same in every process.
    Returns: the loss, the same in every process.
    """
    options.budget.reset()
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
        encoded = EncodedTexts(encoder, tokens[shard], role, options)
        vectors = processes.gather(encoded.vectors, len(tokens))
        leaves.append(vectors.requires_grad_())
        shards.append((leaves[-1], encoded, shard))
    value = loss(*leaves)
    value.backward()
    for leaf, encoded, shard in reversed(shards):  # passages first: they take the most memory
        assert leaf.grad is not None
        encoded.backward(leaf.grad[shard])
    return value.detach()
