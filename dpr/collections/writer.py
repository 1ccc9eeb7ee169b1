"""From the records of any source to BEIR folders: cleaned, checked and counted, as a stream.

Every source goes through here, so that cleaning, checks and the manifest are the same for all.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dpr.collections import beir
from dpr.collections.ids import IdSet
from dpr.collections.records import Collection, Judgment, Pair, Passage, Query, Training
from dpr.collections.text import clean
from dpr.errors import InputError
from dpr.files import sha256


def write_collection(collection: Collection, folder: Path, name: str) -> dict[str, Any]:
    """Write what is searched and judged; returns its manifest.

    A collection without validation topics has a qrels/valid.tsv of its header alone.

    Raises:
        InputError: for an id that comes twice or has white space, judgments of an unknown query,
            and where there are no passages or no judgments.
    """
    passages, passage_ids = _write_passages(collection.passages, folder, name)
    queries, query_ids = _write_queries(collection.queries, folder, name)
    qrels = {"valid": (), **collection.qrels}
    judgments = {
        split: _write_qrels(rows, folder, split, query_ids, passage_ids, name)
        for split, rows in qrels.items()
    }
    if not judgments["test"]["judgments"]:
        raise InputError(f"{name}: no judgments of its queries; nothing could be measured")
    return _manifest(name, collection.source, folder, passages, queries, judgments)


def write_training(training: Training, folder: Path, name: str) -> dict[str, Any]:
    """Write what is trained on; returns its manifest. Raises as `write_collection` does."""
    passages, passage_ids = _write_passages(training.passages, folder, name)
    queries, query_ids = _write_queries(training.queries, folder, name)
    judgments = {
        split: _write_qrels(rows, folder, split, query_ids, passage_ids, name)
        for split, rows in training.qrels.items()
    }
    counts = {"count": 0, "with_negatives": 0, "of_unknown_passages": 0}
    beir.write_pairs(folder, _counted_pairs(training.pairs, query_ids, passage_ids, counts, name))
    if not counts["count"]:
        raise InputError(f"{name}: no training pairs; nothing to train on")
    manifest = _manifest(name, training.source, folder, passages, queries, judgments)
    return manifest | {"pairs": counts}


def _manifest(name, source, folder, passages, queries, judgments) -> dict[str, Any]:
    return {
        "name": name,
        "source": source,
        "passages": passages | {"sha256": sha256(folder / "corpus.jsonl")},
        "queries": queries | {"sha256": sha256(folder / "queries.jsonl")},
        "judgments": judgments,
    }


def _write_passages(
    passages: Iterable[Passage], folder: Path, name: str
) -> tuple[dict[str, Any], IdSet]:
    counts: dict[str, Any] = {"count": 0, "first": None, "last": None, "empty": 0, "repaired": 0}
    ids = IdSet()

    def cleaned() -> Iterator[Passage]:
        for passage in tqdm(passages, desc=name, unit=" passages", disable=None):
            _check_id(passage.id, f"{name}: passage {counts['count'] + 1}")
            title, text = clean(passage.title), clean(passage.text)
            counts["count"] += 1
            counts["first"] = counts["first"] or passage.id
            counts["last"] = passage.id
            counts["empty"] += not (title or text)
            counts["repaired"] += _repaired(passage.title, title) or _repaired(passage.text, text)
            ids.add(passage.id)
            yield Passage(passage.id, title, text)

    beir.write_corpus(folder, cleaned())
    if not counts["count"]:
        raise InputError(f"{name}: no passages; an empty collection cannot be searched")
    _refuse_repeated(ids, (passage.id for passage in beir.read_corpus(folder)), f"{name}: passages")
    return counts, ids


def _write_queries(
    queries: Iterable[Query], folder: Path, name: str
) -> tuple[dict[str, Any], IdSet]:
    counts: dict[str, Any] = {"count": 0, "repaired": 0}
    ids = IdSet()

    def cleaned() -> Iterator[Query]:
        for query in queries:
            counts["count"] += 1
            where = f"{name}: query {counts['count']}"
            _check_id(query.id, where)
            text = clean(query.text)
            if not text:
                raise InputError(f"{where} ({query.id!r}) has no text; remove it or give it one")
            counts["repaired"] += _repaired(query.text, text)
            ids.add(query.id)
            yield Query(query.id, text)

    beir.write_queries(folder, cleaned())
    if not counts["count"]:
        raise InputError(f"{name}: no queries")
    if len(ids.repeated()):
        _refuse_repeated(ids, (row["_id"] for _, row in _queries(folder)), f"{name}: queries")
    return counts, ids


def _queries(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return beir.read_jsonl(folder / "queries.jsonl")


def _write_qrels(
    judgments: Iterable[Judgment],
    folder: Path,
    split: str,
    query_ids: IdSet,
    passage_ids: IdSet,
    name: str,
) -> dict[str, int]:
    """Judgments of passages that the collection lacks are kept, as trec_eval keeps them."""
    counts = dict.fromkeys(
        ("judgments", "relevant", "negative_grade", "unknown_passages", "repeated"), 0
    )
    seen: dict[str, dict[str, int]] = {}

    def counted() -> Iterator[Judgment]:
        for judgment in judgments:
            if judgment.query_id not in query_ids:
                raise InputError(
                    f"{name}: qrels {split}: query {judgment.query_id!r} is judged but has no text;"
                    " add it to the queries or remove its judgments"
                )
            grades = seen.setdefault(judgment.query_id, {})
            if judgment.passage_id in grades:
                if grades[judgment.passage_id] != judgment.grade:
                    raise InputError(
                        f"{name}: qrels {split}: query {judgment.query_id!r} judges "
                        f"{judgment.passage_id!r} twice, with two grades; keep one"
                    )
                counts["repeated"] += 1
                continue
            grades[judgment.passage_id] = judgment.grade
            counts["judgments"] += 1
            counts["relevant"] += judgment.grade > 0
            counts["negative_grade"] += judgment.grade < 0
            counts["unknown_passages"] += judgment.passage_id not in passage_ids
            yield judgment

    beir.write_qrels(folder, split, counted())
    if counts["unknown_passages"]:
        print(
            f"{name}: qrels {split}: {counts['unknown_passages']} judgments of passages that are "
            "not in the collection; they are kept, and cannot be found",
            file=sys.stderr,
        )
    return counts | {"queries": len(seen)}


def _counted_pairs(
    pairs: Iterable[Pair], query_ids: IdSet, passage_ids: IdSet, counts: dict[str, int], name: str
) -> Iterator[Pair]:
    for pair in pairs:
        if pair.query_id not in query_ids:
            raise InputError(
                f"{name}: a training pair names query {pair.query_id!r}, which has no text; add it "
                "to the queries or remove its judgments"
            )
        if not all(p in passage_ids for p in (pair.passage_id, *pair.negative_ids)):
            counts["of_unknown_passages"] += 1
            continue
        counts["count"] += 1
        counts["with_negatives"] += bool(pair.negative_ids)
        yield pair


def _refuse_repeated(ids: IdSet, in_order: Iterable[str], what: str) -> None:
    repeated = ids.repeated()
    if not len(repeated):
        return
    numbers: dict[str, list[int]] = {}
    for number, identifier in enumerate(in_order, start=1):
        if identifier in repeated:
            numbers.setdefault(identifier, []).append(number)
    for identifier, places in numbers.items():
        if len(places) > 1:
            raise InputError(
                f"{what} {places[0]} and {places[1]} have the same id {identifier!r}; "
                "ids must be unique"
            )


def _check_id(identifier: str, where: str) -> None:
    if not identifier or identifier.split() != [identifier] or not identifier.isprintable():
        raise InputError(
            f"{where}: {identifier!r} is no id: a TREC run wants one without white space or "
            "control characters"
        )


def _repaired(raw: str | None, cleaned: str) -> bool:
    """Whether more than white space was mended."""
    return " ".join((raw or "").split()) != cleaned
