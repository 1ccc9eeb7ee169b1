"""A cross-encoder reads a query and a passage together, and gives one score.

Nogueira and Cho 2019, https://arxiv.org/abs/1901.04085. sentence-transformers loads, runs and saves
it. It is far slower than a dual encoder, which reads each passage once for all queries.
"""

import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.base.progress import progress
from dpr.encoders import formats
from dpr.records.corpus import Corpus
from dpr.records.types import RunLike, Scores

if TYPE_CHECKING:  # loads slowly
    from sentence_transformers import CrossEncoder

BATCH = 32  # pairs; sentence-transformers' default
TOPICS_AT_ONCE = 1_000  # whose texts are in memory


def open_cross_encoder(name: str, key: str, revision: str | None = None) -> "CrossEncoder":
    """A cross-encoder of a folder or a hub.

    Args:
        key: of params.yaml, for errors.
        revision: commit, branch or tag of a hub model.
    Raises:
        InputError: if it cannot be loaded, lacks weights, or does not give one score per pair.
    """
    if revision and Path(name).is_dir():
        raise InputError(f"params.yaml: {key}: {name} is a folder, which has no revision; set null")
    try:
        model = load(name, revision=revision)
    except Exception as error:  # of many types
        reason = " ".join(str(error).split())
        raise InputError(
            f"params.yaml: {key}: cannot load the cross-encoder {name!r}: {reason}"
        ) from None
    if model.num_labels != 1:
        raise InputError(
            f"params.yaml: {key}: {name!r} gives {model.num_labels} numbers per pair; choose a "
            "cross-encoder that gives one score"
        )
    if len(model) == 1 and (missing := _missing_weights(name, revision)):
        raise InputError(
            f"params.yaml: {key}: {name!r} has no weights for {missing[0]}, so it would score at "
            "random; choose a cross-encoder"
        )
    exact_head(model)
    return model


def _missing_weights(name: str, revision: str | None) -> list[str]:
    """Of the transformer with its score. (sentence-transformers initializes them at random.)"""
    from transformers import AutoModelForSequenceClassification

    _, report = AutoModelForSequenceClassification.from_pretrained(
        name, revision=revision, output_loading_info=True, trust_remote_code=False
    )
    return sorted(report["missing_keys"])


def load(name: str, **options: Any) -> "CrossEncoder":
    """Load it in fp32 on this process's device, with sentence-transformers' options."""
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    options |= {"device": str(runtime.device()), "model_kwargs": {"dtype": torch.float32}}
    return CrossEncoder(name, trust_remote_code=False, **options)


def exact_head(model: "CrossEncoder") -> None:
    """Compute the score in fp32, also under autocast: scores in bf16 would tie.

    The last layer gives the score or, in a language model, the logits of its vocabulary.
    """
    network: Any = model[0]
    logits = network.model.get_output_embeddings()
    heads = [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and (layer.out_features == 1 or layer is logits)
    ]
    model.set_keep_in_fp32_modules([*(model.keep_in_fp32_modules or ()), *heads])


def score_first(
    model: "CrossEncoder", run: RunLike, questions: Mapping[str, str], corpus: Corpus, depth: int
) -> Scores:
    """The model's scores of the first `depth` passages of each topic.

    If documents are cut, a document has the score of its best passage.

    Args:
        run: passages (or documents), best first.
        questions: {query id: text}.
    Raises:
        InputError: for a score that is not finite.
    """
    scored: Scores = {}
    topics = iter(run)
    with progress(total=len(run), unit="topics") as bar:
        while block := list(itertools.islice(topics, TOPICS_AT_ONCE)):
            first = {topic: list(run[topic])[:depth] for topic in block}
            wanted = {document for documents in first.values() for document in documents}
            texts: dict[str, list[str]] = {}
            for passage_id, text in corpus.texts():
                if (document := corpus.document(passage_id)) in wanted:
                    texts.setdefault(document, []).append(text)
            for topic, documents in first.items():
                pairs = [(questions[topic], text) for d in documents for text in texts[d]]
                scores = iter(score_pairs(model, pairs))
                scored[topic] = {d: max(itertools.islice(scores, len(texts[d]))) for d in documents}
                bar.update()
    return scored


def number_format() -> str:
    """Of the scores: bf16, except for the last layer, if this device is fast at it; else fp32."""
    return formats.training_format("auto", runtime.device())


def score_pairs(model: "CrossEncoder", pairs: list[tuple[str, str]]) -> list[float]:
    """The score of each (query, passage), before any activation: a sigmoid would make ties."""
    if not pairs:
        return []
    device = torch.device(model.device)
    with formats.autocast(number_format(), device):
        scores = model.predict(
            pairs, batch_size=BATCH, show_progress_bar=False, activation_fn=nn.Identity()
        )
    if not torch.isfinite(torch.from_numpy(scores)).all():
        raise InputError("the cross-encoder gives a score that is not finite; choose another model")
    return scores.tolist()


def with_rest(new: RunLike, old: RunLike) -> Scores:
    """A reranked run, and below it the passages that it lacks, in their old order."""
    whole: Scores = {}
    for topic, scores in old.items():
        reranked = new.get(topic, {})
        lowest = min(reranked.values(), default=0.0)
        rest = [passage_id for passage_id in scores if passage_id not in reranked]
        whole[topic] = {**reranked, **{p: lowest - place for place, p in enumerate(rest, 1)}}
    return whole
