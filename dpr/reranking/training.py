"""Trains a cross-encoder: each pair's passage against mined negatives, by a softmax over the group.

Gao et al. 2021 (https://arxiv.org/abs/2101.08751): negatives of the rankers that it will rerank
make it better than random ones. A killed training starts over.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dpr.base.errors import InputError
from dpr.base.progress import progress
from dpr.encoders import formats
from dpr.encoders.spec import read_spec
from dpr.records.types import Pair
from dpr.reranking.cross_encoder import exact_head, load, number_format
from dpr.settings import RerankTrainSettings

if TYPE_CHECKING:  # loads slowly
    from sentence_transformers import CrossEncoder

WARMUP, LOWEST = 0.1, 0.05  # share of the steps; share of the rate at the end
HEAD_LR = 1e-3  # of the new layer, which starts at random
WEIGHT_DECAY, MAX_NORM = 0.01, 1.0


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


def transformer_of(encoder: Path) -> Path:
    """The folder of the transformer in an encoder; of separate encoders, the passage encoder's."""
    return encoder / read_spec(encoder).passage.modules[0]


def train(
    model: "CrossEncoder",
    pairs: Sequence[Pair],
    questions: Mapping[str, str],
    texts: Mapping[str, str],
    options: RerankTrainSettings,
) -> list[float]:
    """Train a cross-encoder of `begin`; return the loss of each step.

    Word embeddings stay as they are.

    Args:
        pairs: `batch_size` per step, each with its negatives.
        questions, texts: of queries and passages by id.
    Raises:
        InputError: if the loss is not finite.
    """
    network: Any = model[0].model
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    in_body = f"{network.base_model_prefix}."
    head = [parameter for name, parameter in named if not name.startswith(in_body)]
    body = [parameter for name, parameter in named if name.startswith(in_body)]
    groups = [{"params": body, "lr": options.lr}, {"params": head, "lr": HEAD_LR}]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: _factor(s, options.steps))
    losses: list[float] = []
    model.train()
    with progress(total=options.steps, unit="steps") as bar:
        for batch in _batches(pairs, options.batch_size):
            loss = _loss(model, batch, questions, texts)
            if not torch.isfinite(loss):
                raise InputError("params.yaml: rerank.train.lr: the loss is not finite; lower it")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*body, *head], MAX_NORM)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.update()
    model.eval()
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
    exact_head(network)
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
    """The mean cross-entropy of the pairs' own passages. Groups may differ in size."""
    from sentence_transformers.util import batch_to_device

    read = [
        (questions[pair.query_id], texts[passage_id])
        for pair in batch
        for passage_id in (pair.passage_id, *pair.negative_ids)
    ]
    features = batch_to_device(model.preprocess(read), model.device)
    with formats.autocast(number_format(), model.device):
        scores = model(features)["scores"].float().squeeze(-1)
    sizes = [1 + len(pair.negative_ids) for pair in batch]
    losses = [-group.log_softmax(0)[0] for group in scores.split(sizes)]
    return torch.stack(losses).mean()


def _batches(pairs: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    return (pairs[start : start + size] for start in range(0, len(pairs), size))


def _factor(step: int, steps: int) -> float:
    """Linear warm-up, then a linear descent."""
    warmup = WARMUP * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 1 - (1 - LOWEST) * (step - warmup) / (steps - warmup)
