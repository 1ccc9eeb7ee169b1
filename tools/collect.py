"""Make a collection of your documents and questions, and print the commands that come next.

Reads documents: a table (CSV, TSV, JSON, JSON lines, Parquet), or a folder with a .txt or .md file
each. --questions is a table with a row for each question and document that answers it. Makes a
folder in BEIR layout, with the questions split for training, validation and testing.

    python -m tools.collect docs.csv --questions questions.csv --into data/mine
    python -m tools.collect docs.csv --into data/mine       # no questions: search, measure nothing

Columns are found by their names, or told: --id doc_no --text body --question q --answer doc_no.
"""

import itertools
import math
import shlex
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import fingerprint
from dpr.evaluation.lengths import MANY, WORDS
from dpr.records import beir
from dpr.records.types import is_relevant
from dpr.settings import Settings, load_settings
from dpr.sources.collect import Collected, collect, listed
from dpr.sources.own import LONG, Documents, Questions
from stages.run import one_line_errors, parser
from tools.overrides import shown

MADE = {beir.PASSAGES, beir.QUERIES, "qrels"}  # what this command writes
HALF_WIDTH = 0.55  # times 1/sqrt(n), as README's intervals of nDCG@10 over 200 topics: at most .04
EXAMPLES, WIDTH = 3, 90  # printed of each; letters of a line


def main(
    source: Path, asked: Path | None, into: Path, told: dict[str, str | None], seed: int, new: bool
) -> None:
    settings = load_settings("params.yaml")
    require_free(into, new)
    of_documents = {key: told[key] for key in ("id", "title", "text")}
    of_questions = {key: told[key] for key in ("question", "answer", "grade")}
    documents = Documents(source, of_documents)
    questions = Questions.read(asked, of_questions) if asked else None
    collected = collect(documents, questions, seed, into)
    print_documents(documents, into)
    if questions is None:
        print("\nno questions: nothing can be measured")
    else:
        print_questions(questions, collected)
    print("\nnext:")
    print("\n".join(commands(documents, collected, into, settings)))


def require_free(into: Path, new: bool) -> None:
    """InputError unless the folder is new, or is one that this command has made, to be replaced."""
    if blocked := next((path for path in into.parents if path.is_file()), None):
        raise InputError(f"{into}: {blocked} is a file; name a new folder")
    if not into.exists():
        return
    if not new:
        raise InputError(f"{into}: exists; name a new folder, or replace this one with --replace")
    names = {path.name for path in into.iterdir()} if into.is_dir() else {into.name}
    if more := sorted(names - MADE):
        raise InputError(f"{into}: has {', '.join(more[:3])}, which --replace would delete")


def print_documents(documents: Documents, into: Path) -> None:
    print(f"{into}: {documents.count:,} documents ({columns(documents.columns)})")
    for count, what in (
        (documents.empty, "without text"),
        (documents.long, f"of more than {LONG} words"),
    ):
        if count:
            print(f"  {count:,} {what}")
    if documents.others:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in documents.others.items())
        print(f"  ignored files: {kinds}")
    for passage in itertools.islice(beir.read_passages(into), EXAMPLES):
        print(short(f"  {passage.id}: {passage.title or '(no title)'} | {passage.text}"))


def print_questions(questions: Questions, collected: Collected) -> None:
    splits = collected.splits
    found = sum(map(len, splits.values()))
    print(f"\n{found:,} questions ({columns(questions.columns)})")
    for members in splits.values():
        question = members[0]
        print(short(f"  {question.text} -> {', '.join(question.grades)}"))
    if unknown := collected.unknown:
        print(f"  LEFT OUT: {len(unknown)} answers that are no document: {listed(unknown)}")
    if collected.left_out:
        print(f"  LEFT OUT: {collected.left_out} questions without a document that answers them")
    print("  " + ", ".join(f"{name} {len(members):,}" for name, members in splits.items()))
    tests = len(splits["test"])
    print(
        f"  with {tests} test questions, a 95 % interval is about "
        f"±{HALF_WIDTH / math.sqrt(tests):.2f} of nDCG@10 (in README.md at most ±.04 with 200)"
    )


def commands(
    documents: Documents, collected: Collected, into: Path, settings: Settings
) -> list[str]:
    """What to type next; a path survives the shell and DVC."""
    inside = into.resolve().is_relative_to(Path.cwd())
    place = into.resolve().relative_to(Path.cwd()) if inside else into.resolve()
    name = f"beir:{place.as_posix()}"
    changes: dict[str, str | int] = {"data.collection": name}
    if train := collected.splits.get("train"):
        changes["data.train"] = name
        pairs = sum(is_relevant(grade) for q in train for grade in q.grades.values())
        changes |= settings.fitting_batches(pairs, len(train))
    if documents.long > MANY * documents.count:
        changes["data.passages.words"] = WORDS
    changes["data.version"] = f"v-{fingerprint([into])[:8]}"  # other files: prepare reads them
    run = f"dvc exp run {shown(changes)}"
    tracked = [f"dvc add {shlex.quote(str(place))}"] if inside else []
    if train:
        copied = f"(a run with --queue or --temp needs --copy-paths {shlex.quote(str(place))}, too)"
        return [*tracked, run, "python -m tools.report", *([copied] if inside else [])]
    ask = [f"python -m tools.ask --system {system}" for system in ("bm25", "zero_shot", "hybrid")]
    return [*tracked, f"{run} index@zero_shot bm25_index", *ask]


def columns(used: dict[str, str]) -> str:
    return ", ".join(f"{key}: {column}" for key, column in used.items())


def short(line: str) -> str:
    line = " ".join(line.split())
    return "  " + (line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")


if __name__ == "__main__":
    arguments = parser("tools.collect", __doc__)
    arguments.add_argument("documents", type=Path, help="a table, or a folder of text files")
    arguments.add_argument("--questions", type=Path, metavar="FILE")
    arguments.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    for key in ("id", "title", "text", "question", "answer", "grade"):
        arguments.add_argument(f"--{key}", metavar="COLUMN")
    arguments.add_argument("--seed", type=int, default=42, help="of the split (default: 42)")
    arguments.add_argument(
        "--replace", action="store_true", help="replace the folder, if it exists"
    )
    chosen = arguments.parse_args()
    told: dict[str, Any] = {
        key: value for key, value in vars(chosen).items() if key not in ("documents", "questions")
    }
    with one_line_errors("collect"):
        main(chosen.documents, chosen.questions, chosen.into, told, chosen.seed, chosen.replace)
