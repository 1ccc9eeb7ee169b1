"""`beir:FOLDER`: a folder in BEIR layout, as a collection and as training data."""

from pathlib import Path

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.lines import existing
from dpr.records.types import Judgment, Pair, Qrels, is_relevant
from dpr.sources.sampling import draw, hold_out
from dpr.sources.types import Collection, Request, Training

VALIDATION_SPLITS = ("valid", "dev")  # the first with a relevant passage is used


def collection(request: Request) -> Collection:
    """The passages, and the queries judged in `data.split` or in a validation split."""
    folder, split = _folder(request), request.data.split
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
        source={"folder": folder.name, "split": split, "queries_without_judgments": unjudged},
        id_space=f"beir:{folder.resolve()}",
    )


def training(request: Request) -> Training:
    """Pairs from qrels/train.tsv. valid.tsv or dev.tsv validates; without them, held-out queries.

    `data.split` neither trains nor validates.
    """
    folder, data = _folder(request), request.data
    if data.split == "train":
        raise InputError("params.yaml: data.split: 'train' is for training; use a different split")
    train = beir.read_qrels(folder, "train")
    relevant = [Pair(j.query_id, j.passage_id) for j in _judgments(train) if is_relevant(j.grade)]
    pairs = list(draw(relevant, data.train_limit, data.held_out_seed))
    validation, valid = _validation(folder, data.split)
    if not valid:
        chosen = hold_out((pair.query_id for pair in pairs), data.held_out, data.held_out_seed)
        valid = {query_id: train.pop(query_id) for query_id in sorted(chosen)}
    used = train.keys() | valid.keys()
    held_out = f"{data.held_out} held out, seed {data.held_out_seed}"
    return Training(
        passages=beir.read_passages(folder),
        queries=[query for query in beir.read_queries(folder).values() if query.id in used],
        qrels={"train": _judgments(train), "valid": _judgments(valid)},
        pairs=[pair for pair in pairs if pair.query_id in train],
        source={"folder": folder.name, "validation": validation or held_out},
        held_out=frozenset() if validation else frozenset(valid),
        id_space=f"beir:{folder.resolve()}",
    )


def _folder(request: Request) -> Path:
    folder = Path(request.place)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give beir:FOLDER with corpus.jsonl in it")
    if not any((folder / "qrels").glob("*.tsv*")):
        raise InputError(f"{folder}: no qrels/SPLIT.tsv; a collection needs judgments")
    return folder


def _validation(folder: Path, judged: str) -> tuple[str | None, Qrels]:
    """The first validation split with a relevant passage; never the split that is judged."""
    for name in VALIDATION_SPLITS:
        if name != judged and existing(folder / "qrels" / f"{name}.tsv").exists():
            qrels = beir.read_qrels(folder, name)
            if any(is_relevant(judgment.grade) for judgment in _judgments(qrels)):
                return name, qrels
    return None, {}


def _judgments(qrels: Qrels) -> list[Judgment]:
    return [Judgment(q, p, grade) for q, grades in qrels.items() for p, grade in grades.items()]
