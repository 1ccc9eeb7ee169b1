"""Trains a cross-encoder: by the softmax, it learns which passage of a group is the relevant one.

Negatives of the rankers that it will rerank make it better than random ones (Gao et al. 2021,
https://arxiv.org/abs/2101.08751). A killed training resumes from its last snapshot and ends with
the same bytes.
"""

import hashlib
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dpr.base.errors import InputError
from dpr.base.interrupts import delay_signals
from dpr.base.progress import progress, say
from dpr.encoders import formats
from dpr.encoders.spec import read_spec
from dpr.records.types import Pair
from dpr.reranking.cross_encoder import exact_head, load, number_format
from dpr.settings import RerankTrainSettings
from dpr.training.snapshot import (
    Autosave,
    optimizer_tensors,
    save,
    set_optimizer_tensors,
    set_weights,
    weights,
)
from dpr.training.snapshot import load as load_snapshot

if TYPE_CHECKING:  # loads slowly
    from sentence_transformers import CrossEncoder

WARMUP, LOWEST = 0.1, 0.05  # share of the steps; share of the rate at the end
HEAD_LR = 1e-3  # of the new layer, which starts at random
WEIGHT_DECAY, MAX_NORM = 0.01, 1.0


def transformer_of(encoder: Path) -> Path:
    """The folder of the transformer in an encoder; of separate encoders, the passage encoder's."""
    return encoder / read_spec(encoder).passage.modules[0]


def sample_pairs(pairs: Sequence[Pair], options: RerankTrainSettings, seed: int) -> list[Pair]:
    """The pairs of all steps, one per query and epoch; all queries equally often."""
    by_query: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_query.setdefault(pair.query_id, []).append(pair)
    rng = random.Random(seed)
    sampled: list[Pair] = []
    while len(sampled) < options.steps * options.batch_size:
        for query_id in rng.sample(list(by_query), len(by_query)):
            sampled.append(rng.choice(by_query[query_id]))
    return sampled[: options.steps * options.batch_size]


def groups_of(pairs: Iterable[Pair], options: RerankTrainSettings) -> list[Pair]:
    """The pairs with negatives, each with `passages` of them and of the own one at most."""
    most = options.passages - 1
    return [p._replace(negative_ids=p.negative_ids[:most]) for p in pairs if p.negative_ids]


def fingerprint(
    groups: Iterable[Pair], questions: Mapping[str, str], texts: Mapping[str, str]
) -> str:
    """A digest of everything that a training reads in these groups."""
    digest = hashlib.sha256()
    for group in groups:
        read = questions[group.query_id], [texts[p] for p in passages_of(group)]
        digest.update(repr(read).encode())
    return digest.hexdigest()


def passages_of(group: Pair) -> tuple[str, ...]:
    """The ids that a group is scored on; the relevant one is first."""
    return group.passage_id, *group.negative_ids


def train(
    model: "CrossEncoder",
    groups: Sequence[Pair],
    questions: Mapping[str, str],
    texts: Mapping[str, str],
    options: RerankTrainSettings,
    autosave: Autosave = Autosave(),  # noqa: B008 - immutable
) -> list[float]:
    """Train a cross-encoder of `begin`, or resume it; return the loss of each step.

    Word embeddings stay as they are.

    Args:
        groups: pairs with negatives, `batch_size` per step; they decide how many steps there are.
        questions, texts: of queries and passages by id.
    Raises:
        InputError: if the loss is not finite.
        KeyboardInterrupt: after a snapshot, on the first signal.
    """
    network: Any = model[0].model
    optimizer = _optimizer(network, options.lr)
    peaks = [part["lr"] for part in optimizer.param_groups]
    losses = _resume(autosave.path, network, optimizer)
    next_save = autosave.clock() + autosave.seconds
    left = groups[len(losses) * options.batch_size :]
    steps = math.ceil(len(groups) / options.batch_size)
    model.train()
    with (
        progress(total=steps, initial=len(losses), unit="steps") as bar,
        delay_signals() as pending,
    ):
        for start in range(0, len(left), options.batch_size):
            batch = left[start : start + options.batch_size]
            for part, peak in zip(optimizer.param_groups, peaks, strict=True):
                part["lr"] = peak * _factor(len(losses), steps)
            loss = _loss(model, batch, questions, texts)
            if not torch.isfinite(loss):
                raise InputError("params.yaml: rerank.train.lr: the loss is not finite; lower it")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
            optimizer.step()
            losses.append(loss.item())
            bar.update()
            ended = start + options.batch_size >= len(left)
            if ended or pending or autosave.clock() >= next_save:
                _save(autosave.path, network, optimizer, losses)
                next_save = autosave.clock() + autosave.seconds
            if pending:
                raise pending[0]
    model.eval()
    return losses


def _optimizer(network: Any, lr: float) -> torch.optim.AdamW:
    """One for two parts: the transformer, and the new layer with its own rate."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    in_body = f"{network.base_model_prefix}."
    body = [parameter for name, parameter in named if name.startswith(in_body)]
    head = [parameter for name, parameter in named if not name.startswith(in_body)]
    parts = [{"params": body, "lr": lr}, {"params": head, "lr": HEAD_LR}]
    return torch.optim.AdamW(parts, weight_decay=WEIGHT_DECAY)


def _save(
    path: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]
) -> None:
    if path:
        tensors = {"weights": weights(network), "optimizer": optimizer_tensors(optimizer)}
        save(path, tensors, {"losses": losses})


def _resume(path: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer) -> list[float]:
    """Restore the last snapshot; the losses so far. (Without dropout nothing is random.)"""
    if not path or not (saved := load_snapshot(path)):
        return []
    tensors, numbers = saved
    set_weights(network, tensors["weights"])
    set_optimizer_tensors(optimizer, tensors["optimizer"])
    losses: list[float] = numbers["losses"]
    say(f"resuming after step {len(losses)}")
    return losses


def begin(start: Path, max_length: int) -> "CrossEncoder":
    """A cross-encoder with the transformer in the folder `start` and a new layer, no dropout.

    Raises:
        InputError: if there is no transformer, or it cannot take `max_length` tokens.
    """
    try:
        model = load(
            str(start),
            num_labels=1,
            max_length=max_length,
            activation_fn=nn.Identity(),
        )
        network: Any = model[0].model
        network.get_input_embeddings().requires_grad_(False)
    except Exception as error:  # of many types
        reason = " ".join(str(error).split())
        raise InputError(f"{start}: no cross-encoder can start from it: {reason}") from None
    exact_head(model)
    if attention := formats.training_attention(model.device):
        network.set_attn_implementation(attention)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    try:
        model.predict([("a", "a " * max_length)], show_progress_bar=False)
    except (IndexError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"params.yaml: rerank.train.max_length: {start} cannot take {max_length} tokens; set "
            f"fewer: {reason}"
        ) from None
    return model


def _loss(
    model: "CrossEncoder",
    batch: Sequence[Pair],
    questions: Mapping[str, str],
    texts: Mapping[str, str],
) -> torch.Tensor:
    """The mean cross-entropy against the relevant passages. Groups may differ in size."""
    from sentence_transformers.util import batch_to_device

    read = [(questions[group.query_id], texts[p]) for group in batch for p in passages_of(group)]
    features = batch_to_device(model.preprocess(read), model.device)
    with formats.autocast(number_format(), model.device):
        scores = model(features)["scores"].float().squeeze(-1)
    sizes = [len(passages_of(group)) for group in batch]
    return torch.stack([-of.log_softmax(0)[0] for of in scores.split(sizes)]).mean()


def _factor(step: int, steps: int) -> float:
    """Linear warm-up, then a linear descent."""
    warmup = WARMUP * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 1 - (1 - LOWEST) * (step - warmup) / (steps - warmup)
