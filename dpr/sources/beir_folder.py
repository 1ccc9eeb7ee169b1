"""`beir:FOLDER`: a folder in BEIR layout, as a collection and as training data."""

from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.lines import existing
from dpr.records.types import Judgment, Pair, Qrels, is_relevant
from dpr.sources.sampling import draw, hold_out
from dpr.sources.types import Collection, Training

VALIDATION_SPLITS = ("valid", "dev")  # the first with a relevant passage is taken


def collection(folder: Path, split: str) -> Collection:
    """The passages, and the queries that the split or a validation split judges."""
    _check(folder)
    qrels = {"test": beir.read_qrels(folder, split)}
    _, valid = _validation(folder, split)
    if valid:
        qrels["valid"] = valid
    judged = {query_id for part in qrels.values() for query_id in part}
    queries = beir.read_queries(folder)
    unjudged = len(queries.keys() - judged)
    return Collection(
        passages=beir.read_passages(folder),
        queries=[query for query in queries.values() if query.id in judged],
        qrels={name: _judgments(part) for name, part in qrels.items()},
        source=_source(folder) | {"split": split, "queries_without_judgments": unjudged},
        ids_of=_ids_of(folder),
    )


def training(folder: Path, split: str, limit: int | None, held_out: int, seed: int) -> Training:
    """Pairs from qrels/train.tsv. valid.tsv or dev.tsv validates; without them, held-out queries.

    `split` is what is judged: it neither trains nor validates.
    """
    _check(folder)
    if split == "train":
        raise InputError("params.yaml: data.split: 'train' is trained on; judge another split")
    train = beir.read_qrels(folder, "train")
    relevant = (
        (q, p) for q, grades in train.items() for p, grade in grades.items() if is_relevant(grade)
    )
    examples = draw(relevant, limit, seed)
    validation, valid = _validation(folder, split)
    if not valid:
        chosen = hold_out([query_id for query_id, _ in examples], held_out, seed)
        valid = {query_id: train.pop(query_id) for query_id in sorted(chosen)}
    pairs = [Pair(q, p) for q, p in examples if q in train]
    used = train.keys() | valid.keys()
    return Training(
        passages=beir.read_passages(folder),
        queries=[query for query in beir.read_queries(folder).values() if query.id in used],
        qrels={"train": _judgments(train), "valid": _judgments(valid)},
        pairs=pairs,
        source=_source(folder) | {"validation": validation or f"{held_out} held out, seed {seed}"},
        held_out=frozenset() if validation else frozenset(valid),
        ids_of=_ids_of(folder),
    )


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give beir:FOLDER with corpus.jsonl in it")
    if not any((folder / "qrels").glob("*.tsv*")):
        raise InputError(f"{folder}: no qrels/SPLIT.tsv; a collection needs judgments")


def _validation(folder: Path, judged: str) -> tuple[str | None, Qrels]:
    """The first validation split with a relevant passage; never the split that is judged."""
    for name in VALIDATION_SPLITS:
        if name != judged and existing(folder / "qrels" / f"{name}.tsv").exists():
            qrels = beir.read_qrels(folder, name)
            if any(is_relevant(grade) for grades in qrels.values() for grade in grades.values()):
                return name, qrels
    return None, {}


def _judgments(qrels: Qrels) -> list[Judgment]:
    return [Judgment(q, p, grade) for q, grades in qrels.items() for p, grade in grades.items()]


def _ids_of(folder: Path) -> str:
    return f"beir:{folder.resolve()}"


def _source(folder: Path) -> dict[str, Any]:
    return {"folder": folder.name}
