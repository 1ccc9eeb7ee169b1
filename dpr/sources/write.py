"""From any source to a BEIR folder and its manifest, as a stream."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.records import beir
from dpr.records.lines import read_jsonl
from dpr.records.types import Judgment
from dpr.sources.checked import Judgments, Pairs, Passages, Queries, refuse_duplicates
from dpr.sources.types import Collection, Training


def write_collection(
    collection: Collection, folder: Path, name: str, drop_query_id: bool | None = None
) -> dict[str, Any]:
    """Write what is searched and judged; returns its manifest.

    A collection without validation topics has a qrels/valid.tsv with only a header.

    Args:
        drop_query_id: whether a query that has the id of a passage is that passage; None: such an
            id is an error.
    Raises:
        InputError: for a duplicate id or one with white space, judgments of an unknown query or
            that no system can meet, and a collection without passages, queries or judgments.
    """
    qrels = {"valid": (), **collection.qrels}
    _, _, manifest = _write(collection, qrels, folder, name, drop_query_id)
    if not manifest["judgments"]["test"]["judgments"]:
        raise InputError(f"{name}: no judgments of its queries; nothing could be measured")
    return manifest


def write_training(
    training: Training, folder: Path, name: str, drop_query_id: bool | None = None
) -> dict[str, Any]:
    """Write what is trained on; returns its manifest. Arguments and errors as above."""
    queries, passages, manifest = _write(training, training.qrels, folder, name, drop_query_id)
    pairs = Pairs(training.pairs, queries.ids, passages.ids, name)
    beir.write_pairs(folder, pairs)
    count, left_out = pairs.counts["count"], pairs.counts["of_unknown_passages"]
    if left_out:
        print(
            f"{name}: {left_out / (count + left_out):.0%} of the training pairs ({left_out:,}) are "
            "left out: they name passages that are not there",
            file=sys.stderr,
        )
    if not count:
        raise InputError(f"{name}: no training pairs; nothing to train on")
    return manifest | {"pairs": pairs.counts | {"sha256": sha256(folder / beir.PAIRS)}}


def _write(
    data: Collection | Training,
    qrels: Mapping[str, Iterable[Judgment]],
    folder: Path,
    name: str,
    drop_query_id: bool | None,
) -> tuple[Queries, Passages, dict[str, Any]]:
    """Passages, queries and judgments, which a collection and training data have alike."""
    passages = Passages(data.passages, name)
    beir.write_passages(folder, passages)
    if not passages.counts["count"]:
        raise InputError(f"{name}: no passages; an empty collection cannot be searched")
    written = (passage.id for passage in beir.read_passages(folder))
    refuse_duplicates(passages.ids, written, f"{name}: passages")

    queries = Queries(data.queries, passages.ids, drop_query_id, name)
    beir.write_queries(folder, queries)
    if not queries.counts["count"]:
        raise InputError(f"{name}: no queries")
    rows = (row["_id"] for _, row in read_jsonl(folder / beir.QUERIES))
    refuse_duplicates(queries.ids, rows, f"{name}: queries")

    judged = {}
    for split, judgments in qrels.items():
        checked = Judgments(judgments, queries.ids, passages.ids, f"{name}: qrels {split}")
        beir.write_qrels(folder, split, checked)
        judged[split] = checked.counts | {"sha256": sha256(folder / f"qrels/{split}.tsv")}
        # Those of "train" measure nothing; `write_training` says what pairs they cost.
        if split != "train" and (lost := checked.what_is_lost(passages.counts["first"])):
            print(lost, file=sys.stderr)
    manifest = {
        "name": name,
        "source": data.source,
        "passages": passages.counts | {"sha256": sha256(folder / beir.PASSAGES)},
        "queries": queries.counts | {"sha256": sha256(folder / beir.QUERIES)},
        "judgments": judged,
    }
    return queries, passages, manifest
