"""Streams a source to disk as a BEIR folder, and describes it in a manifest."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.records import beir
from dpr.records.lines import read_jsonl
from dpr.records.types import Judgment
from dpr.sources.checked import Checks, refuse_duplicates
from dpr.sources.types import Collection, Records, Training


def write_collection(
    collection: Collection, folder: Path, name: str, drop_query_id: bool | None = None
) -> dict[str, Any]:
    """Write the passages and the judged queries; returns the manifest.

    A collection without validation topics has a qrels/valid.tsv with only a header.

    Args:
        drop_query_id: whether a query with the id of a passage is that passage; None: refuse.
    Raises:
        InputError: for a duplicate or invalid id, judgments of an unknown query, judgments that no
            system can satisfy, and a collection without passages, queries or judgments.
    """
    checks = Checks(name, drop_query_id)
    manifest = _write(collection, {"valid": (), **collection.qrels}, folder, checks)
    if not manifest["judgments"]["test"]["judgments"]:
        raise InputError(f"{name}: no judgments of its queries, so nothing can be measured")
    return manifest


def write_training(
    training: Training, folder: Path, name: str, drop_query_id: bool | None = None
) -> dict[str, Any]:
    """Write the training data; returns the manifest. Arguments and errors as above."""
    checks = Checks(name, drop_query_id)
    manifest = _write(training, training.qrels, folder, checks)
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
) -> dict[str, Any]:
    """Write passages, queries and judgments, which collections and training data both have."""
    name, counts = checks.name, checks.counts
    beir.write_passages(folder, checks.passages(data.passages))
    if not counts["passages"]["count"]:
        raise InputError(f"{name}: no passages; an empty collection cannot be searched")
    written = (passage.id for passage in beir.read_passages(folder))
    refuse_duplicates(checks.passage_ids, written, f"{name}: passages")

    beir.write_queries(folder, checks.queries(data.queries))
    if not counts["queries"]["count"]:
        raise InputError(f"{name}: no queries")
    written = (row["_id"] for _, row in read_jsonl(folder / beir.QUERIES))
    refuse_duplicates(checks.query_ids, written, f"{name}: queries")

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
