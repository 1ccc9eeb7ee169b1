"""`beir:FOLDER`: a folder in BEIR layout, as a collection and as training data."""

from pathlib import Path

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.lines import existing
from dpr.records.types import Judgment, Pair, is_relevant
from dpr.sources.sampling import draw, hold_out
from dpr.sources.types import Collection, Request, Training

VALIDATION_SPLITS = ("valid", "dev")  # the first with a relevant passage is used


def collection(request: Request) -> Collection:
    """The passages, and the queries judged in `data.split` or in a validation split."""
    folder, split = _folder(request), request.data.split
    qrels = {"test": _judgments(folder, split)}
    _, valid = _validation(folder, split)
    if valid:
        qrels["valid"] = valid
    judged = {judgment.query_id for part in qrels.values() for judgment in part}
    queries = beir.read_queries(folder)
    unjudged = len(queries.keys() - judged)
    return Collection(
        passages=beir.read_passages(folder),
        queries=[query for query in queries.values() if query.id in judged],
        qrels=qrels,
        description={"folder": folder.name, "split": split, "queries_without_judgments": unjudged},
        id_space=f"beir:{folder.resolve()}",
    )


def training(request: Request) -> Training:
    """Pairs from qrels/train.tsv. valid.tsv or dev.tsv validates; without them, held-out queries.

    `data.split` neither trains nor validates.
    """
    folder, data = _folder(request), request.data
    if data.split == "train":
        raise InputError("params.yaml: data.split: 'train' is for training; use a different split")
    train = _judgments(folder, "train")
    relevant = [Pair(j.query_id, j.passage_id) for j in train if is_relevant(j.grade)]
    pairs = list(draw(relevant, data.train_limit, data.held_out_seed))
    validation, valid = _validation(folder, data.split)
    held_out: set[str] = set()
    if not validation:
        validation = f"{data.held_out} held out, seed {data.held_out_seed}"
        held_out = hold_out((pair.query_id for pair in pairs), data.held_out, data.held_out_seed)
        valid = sorted((j for j in train if j.query_id in held_out), key=lambda j: j.query_id)
        train = [j for j in train if j.query_id not in held_out]
    used = {judgment.query_id for judgment in (*train, *valid)}
    return Training(
        passages=beir.read_passages(folder),
        queries=[query for query in beir.read_queries(folder).values() if query.id in used],
        qrels={"train": train, "valid": valid},
        pairs=[pair for pair in pairs if pair.query_id not in held_out],
        description={"folder": folder.name, "validation": validation},
        held_out=held_out,
        id_space=f"beir:{folder.resolve()}",
    )


def _folder(request: Request) -> Path:
    folder = Path(request.location)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give beir:FOLDER with corpus.jsonl in it")
    if not any((folder / "qrels").glob("*.tsv*")):
        raise InputError(f"{folder}: no qrels/SPLIT.tsv; a collection needs judgments")
    return folder


def _validation(folder: Path, judged: str) -> tuple[str | None, list[Judgment]]:
    """The first validation split with a relevant passage; never the split that is judged."""
    for name in VALIDATION_SPLITS:
        if name != judged and existing(folder / "qrels" / f"{name}.tsv").exists():
            judgments = _judgments(folder, name)
            if any(is_relevant(judgment.grade) for judgment in judgments):
                return name, judgments
    return None, []


def _judgments(folder: Path, split: str) -> list[Judgment]:
    qrels = beir.read_qrels(folder, split)
    return [Judgment(q, p, grade) for q, grades in qrels.items() for p, grade in grades.items()]
