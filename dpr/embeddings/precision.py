"""Opening an encoder for passages or queries: its number format, and the noise in its scores.

`encode.precision: auto` promises nDCG@10 within .002 of fp32. A sample cannot check this by nDCG:
with 200 topics, chance moves nDCG more. The noise in the scores can be measured on a sample, since
a few passages have thousands of scores. docs/speed.md relates this noise to nDCG@10.
"""

import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from dpr.base.environment import is_first_process
from dpr.base.errors import InputError
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.embeddings.artifact import MANIFEST, Embeddings
from dpr.encoders import formats
from dpr.encoders.embedder import Embedder
from dpr.encoders.formats import Format
from dpr.encoders.spec import passage_side, weights_format
from dpr.records.corpus import Corpus
from dpr.settings import EncodeSettings

PASSAGES, SEED = 128, 42
WORDS = 8  # the first words of a passage stand for a query: short texts have more noise
MOST_NOISE = 0.1  # that `auto` accepts: it costs about .002 nDCG@10


def open_for_passages(
    corpus: Corpus,
    folder: Path,
    options: EncodeSettings,
    scratch: Path,
    processes: ProcessGroup = SINGLE,
) -> Embedder:
    """The encoder in `folder`, for the passages of a corpus; all processes use the same format.

    `encode.precision: auto` takes the fastest format that keeps its promise on sampled passages.
    The first words of passages stand for queries, so training the query encoder alone changes
    nothing. A format that the user sets is not checked.
    """
    embedder = Embedder(folder, options, processes.device, scratch)
    if not _promised(embedder.format, folder, options):
        return embedder
    if processes.is_first:
        texts = _sampled(corpus, _rows(corpus.passage_count()))
        exact = _scores_among(texts, embedder.in_format("fp32"))
    choices = formats.auto(processes.device)
    for slower in choices[choices.index(embedder.format) + 1 :]:
        noise = 0.0
        if processes.is_first:
            noise = score_noise(exact, _scores_among(texts, embedder))
        (noise,) = processes.broadcast((noise,))
        if noise <= MOST_NOISE:
            break
        if processes.is_first:
            print(
                f"{folder}: in {embedder.format}, {noise:.3f} of the spread of scores is error, "
                f"more than {MOST_NOISE}; continuing with {slower}",
                file=sys.stderr,
            )
        embedder = embedder.in_format(slower)
    return embedder


def open_for_queries(
    embeddings: Embeddings,
    folder: Path,
    options: EncodeSettings,
    device: torch.device,
    scratch: Path,
) -> Embedder:
    """The encoder in `folder`, in the number format of these embeddings.

    On a device without this format (vectors from a different machine), it warns and uses fp32.

    Raises:
        InputError: for embeddings of a different encoder, or in an unknown format.
    """
    require_made_by(folder, embeddings)
    number_format = embeddings.manifest["format"]
    if number_format not in get_args(Format):
        raise InputError(f"{embeddings.folder / MANIFEST}: 'format' is damaged; encode again")
    try:
        return Embedder(folder, options, device, scratch, number_format)
    except InputError:  # raised again below, unless the device lacks the format
        embedder = Embedder(folder, options, device, scratch, "fp32")
    if is_first_process():
        print(
            f"{embeddings.folder}: vectors in {number_format}, which this machine cannot compute; "
            "queries are in fp32",
            file=sys.stderr,
        )
    return embedder


def require_made_by(encoder: Path, embeddings: Embeddings) -> None:
    """Raises InputError if this encoder computes different passage vectors.

    The query side may differ.
    """
    if embeddings.manifest["encoder"].get("sha256") != passage_side(encoder):
        raise InputError(
            f"{embeddings.folder}: made by a different encoder than {encoder}; encode again "
            "(dvc repro)"
        )


def precision_cost(
    embedder: Embedder, embeddings: Embeddings, corpus: Corpus, queries: list[str]
) -> dict[str, Any]:
    """The format of the vectors, the cosine of a sample to fp32, and the noise in its scores.

    Args:
        embedder: from `open_for_queries`, for these embeddings.
    """
    exact, rows = embedder.in_format("fp32"), _rows(len(embeddings.ids))
    vectors = embeddings.sample(rows)
    exact_vectors = exact.embed_texts(_sampled(corpus, rows), "passage")
    cosines = torch.cosine_similarity(torch.from_numpy(vectors), torch.from_numpy(exact_vectors))
    noise = score_noise(
        _scores(exact, exact.embed_texts(queries, "query"), exact_vectors),
        _scores(embedder, embedder.embed_texts(queries, "query"), vectors),
    )
    return {
        "format": embeddings.manifest["format"],
        "cosine_to_fp32": {"least": float(cosines.min()), "mean": float(cosines.mean())},
        "score_noise": noise,
    }


def require_promise(cost: dict[str, Any], folder: Path, options: EncodeSettings) -> None:
    """Raises InputError if the scores of a format that `auto` chose have too much noise."""
    number_format, noise = cost["format"], cost["score_noise"]
    if _promised(number_format, folder, options) and not noise <= MOST_NOISE:
        cure = "fp32 or bf16" if number_format == "int8" else "fp32"
        raise InputError(
            f"{folder}: in {number_format}, {noise:.3f} of the spread of scores is error for the "
            f"test topics; above {MOST_NOISE} it can cost more than .002 nDCG@10: set "
            f"encode.precision {cure}"
        )


def score_noise(exact: np.ndarray, scores: np.ndarray) -> float:
    """How much of the spread of a query's scores is error, from 0 (none) to 1 (all).

    A shift or factor common to all scores of a query does not count, since it changes no ranking.
    With noise n, the correlation between scores and exact scores is sqrt(1 - n^2).

    Args:
        exact, scores: (Q, P), of the same queries and passages.
    """
    both = np.stack([exact, scores]).astype(float)
    if not np.isfinite(both).all():  # a format that is too narrow gives infinity
        return 1.0
    a, b = both - both.mean(axis=2, keepdims=True)
    norms = (a**2).sum(axis=1) * (b**2).sum(axis=1)
    shared = np.divide((a * b).sum(axis=1) ** 2, norms, out=np.ones_like(norms), where=norms != 0)
    return float(np.sqrt(max(0.0, 1 - shared.mean())))


def _promised(number_format: Format, folder: Path, options: EncodeSettings) -> bool:
    """Whether `auto` chose a format with less precision than the saved weights."""
    return options.precision == "auto" and number_format not in ("fp32", weights_format(folder))


def _rows(count: int) -> np.ndarray:
    """The rows of a sample, ascending."""
    rng = np.random.default_rng(SEED)
    return np.sort(rng.choice(count, min(PASSAGES, count), replace=False))


def _sampled(corpus: Corpus, rows: np.ndarray) -> list[str]:
    return [text for _, text in corpus.texts(set(rows.tolist()).__contains__)]


def _scores(embedder: Embedder, queries: np.ndarray, passages: np.ndarray) -> np.ndarray:
    scores = embedder.similarity.scores(torch.from_numpy(queries), torch.from_numpy(passages))
    return scores.numpy()


def _scores_among(texts: list[str], embedder: Embedder) -> np.ndarray:
    """(P, P - 1) scores of the first words of each passage with all other passages."""
    queries = embedder.embed_texts([" ".join(t.split()[:WORDS]) for t in texts], "passage")
    scores = _scores(embedder, queries, embedder.embed_texts(texts, "passage"))
    return scores[~np.eye(len(texts), dtype=bool)].reshape(len(texts), -1)
