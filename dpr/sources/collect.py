"""Documents and questions of one's own -> a BEIR folder, written whole or not at all."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_folder
from dpr.base.progress import progress
from dpr.records import beir
from dpr.records.ids import IdHashes
from dpr.records.types import Judgment, Passage, Query
from dpr.sources.checked import refuse_duplicates
from dpr.sources.own import TEXT_FILES, Documents, Question, Questions

FEWEST = 20  # questions
SHARES = {"test": 0.4, "valid": 0.15}  # of the questions; the rest is for training
MOST = {"test": 500, "valid": 200}
UNKNOWN, LISTED = 0.2, 5  # share of answers that may be unknown; those that a message lists


@dataclass
class Collected:
    """What was written.

    Attributes:
        splits: the questions of "train", "valid" and "test"; none without questions.
        unknown: "FILE:LINE: ANSWER" for each answer that is the id of no document.
        left_out: the number of questions without a relevant document.
    """

    splits: dict[str, list[Question]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    left_out: int = 0


def collect(documents: Documents, questions: Questions | None, seed: int, into: Path) -> Collected:
    """Write the folder. Without questions, it has corpus.jsonl alone.

    Raises:
        InputError: for documents of one id, too many unknown answers, too few questions, and
            errors of both readers. Nothing is written then.
    """
    ids, collected = IdHashes(), Collected()

    def passages() -> Iterator[Passage]:
        for document in progress(documents, desc=documents.path.name, unit="documents"):
            ids.add(document.id)
            yield document

    with new_folder(into) as folder:
        beir.write_passages(folder, passages())
        in_order = (passage.id for passage in beir.read_passages(folder))
        refuse_duplicates(ids, in_order, f"{documents.path}: documents")
        if questions is not None:
            collected.unknown = _without_unknown(questions, ids)
            asked = [question for question in questions.found if question.is_answered]
            collected.left_out = len(questions.found) - len(asked)
            collected.splits = split(asked, seed, questions.path)
            _write(folder, asked, collected.splits)
    return collected


def _without_unknown(questions: Questions, documents: IdHashes) -> list[str]:
    """Drop the answers that are no document; returns a line for each of them."""
    unknown, count = [], 0
    for question in questions.found:
        count += len(question.grades)
        known = {answer: _known(answer, documents) for answer in question.grades}
        unknown += [f"{question.where}: {answer!r}" for answer, id in known.items() if id is None]
        grades = ((known[answer], grade) for answer, grade in question.grades.items())
        question.grades = {id: grade for id, grade in grades if id is not None}
    if len(unknown) > UNKNOWN * count:
        raise InputError(
            f"{questions.path}: {len(unknown)} of {count} answers are the id of no document "
            f"({listed(unknown)}); column {questions.columns['answer']!r} must have such ids"
        )
    return unknown


def _known(answer: str, documents: IdHashes) -> str | None:
    """The document that an answer names, with or without the suffix of its file."""
    stem, dot, suffix = answer.rpartition(".")
    names = [answer, *([stem] if dot + suffix.lower() in TEXT_FILES else [])]
    return next((name for name in names if name in documents), None)


def listed(lines: list[str]) -> str:
    return "; ".join(lines[:LISTED]) + "; ..." * (len(lines) > LISTED)


def split(questions: list[Question], seed: int, path: Path) -> dict[str, list[Question]]:
    """Questions for training, validation and testing, drawn by seed.

    Raises:
        InputError: if there are too few.
    """
    if len(questions) < FEWEST:
        raise InputError(
            f"{path}: {len(questions)} answered questions, with which nothing can be trained or "
            f"tested: {FEWEST} are the least, 300 are useful (docs/yours.md). Without --questions, "
            "the documents can be searched, but not measured"
        )
    drawn, splits = random.Random(seed).sample(questions, len(questions)), {}
    for name, share in SHARES.items():
        count = min(MOST[name], round(share * len(questions)))
        splits[name], drawn = drawn[:count], drawn[count:]
    return {"train": drawn, "valid": splits["valid"], "test": splits["test"]}


def _write(folder: Path, asked: list[Question], splits: dict[str, list[Question]]) -> None:
    for number, question in enumerate(asked, start=1):
        question.id = f"q{number}"
    beir.write_queries(folder, (Query(question.id, question.text) for question in asked))
    for name, members in splits.items():
        judged = ((q.id, *answer) for q in members for answer in q.grades.items())
        beir.write_qrels(folder, name, (Judgment(*row) for row in judged))
