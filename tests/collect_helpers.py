"""What tests of `tools.collect` share: a table of documents, one of questions, and the command."""

from pathlib import Path

import pandas

from tools import collect as tool

BREAKS = 'She said "no",\nand left;\n\n\tthen came back'
DOCUMENTS = pandas.DataFrame(
    {
        "doc_id": [f"d{n}" for n in range(40)],
        "Title": [f"Title {n}" for n in range(40)],
        "body": [BREAKS, *(f"text of {n}" for n in range(1, 40))],
        "owner": "me",
    }
)
QUESTIONS = pandas.DataFrame(
    {"question": [f"what is {n}?" for n in range(40)], "doc_id": [f"d{n}" for n in range(40)]}
)
WRITERS = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".csv.gz": lambda table, path: table.to_csv(path, index=False),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    ".json": lambda table, path: table.to_json(path, orient="records"),
    ".parquet": lambda table, path: table.to_parquet(path),
}


def run(documents="docs.csv", questions=None, into="mine", seed=1, new=False, **columns):
    told = dict.fromkeys(("id", "title", "text", "question", "answer", "grade")) | columns
    asked = questions and Path(questions)
    tool.main(Path(documents), asked, Path(into), told, seed, new)


def table(name, frame):
    WRITERS[name[name.index(".") :]](frame, name)
    return name


def left(folder):
    """The files that are there, without the input."""
    return sorted(
        path.as_posix() for path in Path(folder).rglob("*") if not path.name.startswith("docs")
    )


def changed(frame, row, column, value):
    frame = frame.astype(object).copy()
    frame.loc[row, column] = value
    return frame
