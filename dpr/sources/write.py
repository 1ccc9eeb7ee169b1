"""Streams a source to disk as a BEIR folder, and describes it in a manifest."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.records import beir
from dpr.records.documents import document_of
from dpr.records.types import Judgment, Passage
from dpr.settings import PassageSettings
from dpr.sources.checked import Checks, refuse_duplicates
from dpr.sources.cut import cut
from dpr.sources.types import Collection, Records, Training

NOT_CUT = PassageSettings(words=None, overlap=0)


def write_collection(
    collection: Collection,
    folder: Path,
    name: str,
    drop_query_id: bool | None = None,
    passages: PassageSettings = NOT_CUT,
) -> dict[str, Any]:
    """Write the passages and the judged queries; returns the manifest.

    A collection without validation topics has a qrels/valid.tsv with only a header.

    Args:
        drop_query_id: whether a query with the id of a document is that document; None: refuse.
        passages: how to cut documents. Judgments and pairs still name documents.
    Raises:
        InputError: for a duplicate or invalid id, judgments of an unknown query, judgments that no
            system can satisfy, a collection without passages, and queries without judgments.
    """
    checks = Checks(name, drop_query_id)
    manifest = _write(collection, {"valid": (), **collection.qrels}, folder, checks, passages)
    if not collection.judged:
        print(
            f"{name}: no queries, so nothing can be measured; `dvc repro index@zero_shot "
            "bm25_index` suffices to ask questions: `python -m tools.ask --system hybrid`",
            file=sys.stderr,
        )
    elif not manifest["judgments"]["test"]["judgments"]:
        raise InputError(f"{name}: no judgments of its queries, so nothing can be measured")
    return manifest


def write_training(
    training: Training,
    folder: Path,
    name: str,
    drop_query_id: bool | None = None,
    passages: PassageSettings = NOT_CUT,
) -> dict[str, Any]:
    """Write the training data; returns the manifest. Arguments and errors as above."""
    checks = Checks(name, drop_query_id)
    manifest = _write(training, training.qrels, folder, checks, passages)
    if not manifest["queries"]["count"]:
        raise InputError(f"{name}: no queries")
    beir.write_pairs(folder, checks.pairs(training.pairs))
    counts = checks.counts["pairs"]
    count, left_out = counts["count"], counts["of_unknown_passages"]
    if left_out:
        print(
            f"{name}: {left_out / (count + left_out):.0%} of the training pairs ({left_out:,}) are "
            "left out: they name passages that are not in the data",
            file=sys.stderr,
        )
    if not count:
        raise InputError(f"{name}: no training pairs, so there is nothing to train on")
    return manifest | {"pairs": counts | {"sha256": sha256(folder / beir.PAIRS)}}


def _write(
    data: Records,
    qrels: Mapping[str, Iterable[Judgment]],
    folder: Path,
    checks: Checks,
    settings: PassageSettings,
) -> dict[str, Any]:
    """Write passages, queries and judgments, which collections and training data both have."""
    name, counts = checks.name, checks.counts
    count = 0

    def passages() -> Iterator[Passage]:
        nonlocal count
        for passage in cut(checks.passages(data.passages), settings):
            count += 1
            yield passage

    beir.write_passages(folder, passages())
    if not count:
        raise InputError(f"{name}: no passages; an empty collection cannot be searched")
    written = (passage.id for passage in beir.read_passages(folder))
    if settings.words is not None:
        written = (document_of(key) for key in written if key.endswith("#0"))
        counts["passages"] |= {"count": count, "documents": counts["passages"]["count"]}
    refuse_duplicates(checks.passage_ids, written, f"{name}: passages")

    beir.write_queries(folder, checks.queries(data.queries))
    queries = (query.id for query in beir.stream_queries(folder))
    refuse_duplicates(checks.query_ids, queries, f"{name}: queries")

    for split, judgments in qrels.items():
        beir.write_qrels(folder, split, checks.judgments(judgments, split))
        counts["judgments"][split]["sha256"] = sha256(folder / f"qrels/{split}.tsv")
    return {
        "name": name,
        "source": data.description,
        "passages": counts["passages"] | {"sha256": sha256(folder / beir.PASSAGES)},
        "queries": counts["queries"] | {"sha256": sha256(folder / beir.QUERIES)},
        "judgments": counts["judgments"],
    }
