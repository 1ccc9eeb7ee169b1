"""What a number format does to the scores of passages, measured beside fp32 on a sample.

`encode.precision: auto` promises nDCG@10 within .002 of fp32. nDCG itself cannot show that on a
sample: over 200 topics, two formats differ by more by chance. The noise of the scores can: a few
passages have thousands of scores. docs/speed.md says how much of it costs how much nDCG@10.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpr.base.errors import InputError
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.embeddings.artifact import Embeddings
from dpr.encoders import formats
from dpr.encoders.embedder import Embedder
from dpr.encoders.formats import Format
from dpr.encoders.spec import weights_format
from dpr.records.corpus import Corpus
from dpr.settings import EncodeSettings

PASSAGES, SEED = 128, 42
WORDS = 8  # at the beginning of a passage, which stand for a query: short texts have more noise
MOST_NOISE = 0.1  # that `auto` may make: it costs about .002 nDCG@10


def score_noise(exact: np.ndarray, scores: np.ndarray) -> float:
    """How much of the spread of a query's scores is error: 0 for none, 1 if they say nothing.

    A shift or a factor that all scores of a query share moves no ranking and does not count. Of
    that noise n, the correlation of the scores with the exact ones is sqrt(1 - n^2).

    Args:
        exact, scores: (Q, P), of the same queries and passages.
    """
    both = np.stack([exact, scores]).astype(float)
    if not np.isfinite(both).all():  # infinity, of a format that is too narrow
        return 1.0
    a, b = both - both.mean(axis=2, keepdims=True)
    norms = (a**2).sum(axis=1) * (b**2).sum(axis=1)
    shared = np.divide((a * b).sum(axis=1) ** 2, norms, out=np.ones_like(norms), where=norms != 0)
    return float(np.sqrt(max(0.0, 1 - shared.mean())))


def open_for_passages(
    corpus: Corpus,
    folder: Path,
    options: EncodeSettings,
    device: torch.device,
    threads: int,
    scratch: Path,
    processes: ProcessGroup = SINGLE,
) -> Embedder:
    """The encoder in `folder`, for the passages of a corpus, in the same format in all processes.

    Of the formats of `encode.precision: auto` it has the fastest that keeps its promise on some
    passages, with the first words of others as queries: what trains the query encoder alone encodes
    nothing again. A format that the user names is taken as it is.
    """
    embedder = Embedder(folder, options, device, threads, scratch)
    if not _promised(embedder.format, folder, options):
        return embedder
    if processes.is_first:
        texts = _sampled(corpus, _rows(corpus.passage_count()))
        exact = _scores_among(texts, embedder.in_format("fp32"))
    for slower in formats.auto(device)[formats.auto(device).index(embedder.format) + 1 :]:
        noise = 0.0
        if processes.is_first:
            noise = score_noise(exact, _scores_among(texts, embedder))
        (noise,) = processes.broadcast((noise,))
        if noise <= MOST_NOISE:
            break
        if processes.is_first:
            told = f"{folder}: in {embedder.format}, {noise:.3f} of the spread of scores is error"
            told += f", more than {MOST_NOISE}; going on with {slower}"
            print(told, file=sys.stderr)
        embedder = embedder.in_format(slower)
    return embedder


def precision_cost(
    embedder: Embedder, embeddings: Embeddings, corpus: Corpus, queries: list[str]
) -> dict[str, Any]:
    """The format of the vectors, the cosines of some to fp32, and the noise of their scores.

    Args:
        embedder: it embeds the queries of these embeddings.
    """
    exact, rows = embedder.in_format("fp32"), _rows(len(embeddings.ids))
    ours = embeddings.sample(rows)
    theirs = exact.embed_texts(_sampled(corpus, rows), "passage")
    cosines = torch.cosine_similarity(torch.from_numpy(ours), torch.from_numpy(theirs))
    noise = score_noise(
        _scores(exact, exact.embed_texts(queries, "query"), theirs),
        _scores(embedder, embedder.embed_texts(queries, "query"), ours),
    )
    return {
        "format": embeddings.manifest["format"],
        "cosine_to_fp32": {"least": float(cosines.min()), "mean": float(cosines.mean())},
        "score_noise": noise,
    }


def require_promise(cost: dict[str, Any], folder: Path, options: EncodeSettings) -> None:
    """Raises InputError for a format that `auto` chose, if the scores have too much noise."""
    format, noise = cost["format"], cost["score_noise"]
    if _promised(format, folder, options) and not noise <= MOST_NOISE:
        others = "fp32 or bf16" if format == "int8" else "fp32"
        raise InputError(
            f"{folder}: in {format}, {noise:.3f} of the spread of scores is error for the test "
            f"topics; above {MOST_NOISE} it can cost more than .002 nDCG@10: set encode.precision "
            f"{others}"
        )


def _promised(format: Format, folder: Path, options: EncodeSettings) -> bool:
    """Whether it has to be checked; weights that are kept in half precision are encoded in it."""
    return options.precision == "auto" and format not in ("fp32", weights_format(folder))


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
    """(P, P - 1) scores of the first words of each passage with all others."""
    queries = embedder.embed_texts([" ".join(t.split()[:WORDS]) for t in texts], "passage")
    scores = _scores(embedder, queries, embedder.embed_texts(texts, "passage"))
    return scores[~np.eye(len(texts), dtype=bool)].reshape(len(texts), -1)
