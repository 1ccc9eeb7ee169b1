"""`tools.collect` refuses bad documents and questions in one line, and writes nothing."""

from pathlib import Path

import pandas
import pytest
from collect_helpers import DOCUMENTS, QUESTIONS, changed, left, run, table

from dpr.base.errors import InputError

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("documents", "questions", "message"),
    [
        (changed(DOCUMENTS, 7, "doc_id", "d3"), None, "docs.csv: documents 4 and 8 .* id 'd3'"),
        (
            changed(DOCUMENTS, 7, "doc_id", " "),
            None,
            r"docs.csv:12: the id of the document is empty",
        ),
        (DOCUMENTS.assign(body=""), None, "docs.csv: no document has a text"),
        (
            DOCUMENTS.drop(columns="body"),
            None,
            "no column for the text; .* doc_id, Title, owner; name",
        ),
        (b"doc_id;text\nd1;x\n", None, r"the columns are: doc_id;text; separate them by commas"),
        (
            b"doc_id,text\nd1,na\xefve\n",
            None,
            r"docs.csv:2: not UTF-8 \(.* byte 0xef in position 5",
        ),
        (b'doc_id,text\nd1,"open\n', None, "docs.csv:.* not CSV"),
        (DOCUMENTS, QUESTIONS[:19], "19 answered questions, .*: 20 are the least"),
        (
            DOCUMENTS,
            changed(QUESTIONS, 3, "question", " "),
            "questions.csv:5: the question is empty",
        ),
        (DOCUMENTS, changed(QUESTIONS, 3, "doc_id", ""), "questions.csv:5: the id .* is empty"),
        (
            DOCUMENTS[:31],
            QUESTIONS,
            "9 of 40 answers are the id of no document .*'d31'; .*'d35'; ...",
        ),
        (
            DOCUMENTS,
            QUESTIONS.assign(grade="high"),
            "questions.csv:2: 'grade' must be a whole number",
        ),
        (DOCUMENTS, QUESTIONS.drop(columns="doc_id"), "no column for the answer; .* --answer"),
        (
            DOCUMENTS,
            pandas.concat([QUESTIONS.assign(grade=1), QUESTIONS.assign(grade=2)]),
            "questions.csv:42: 'd0' has two grades",
        ),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_bad_input_is_an_error_and_nothing_is_written(documents, questions, message, before):
    if before:
        run(table("docs.csv", DOCUMENTS), table("questions.csv", QUESTIONS))
        kept = {path: Path(path).read_bytes() for path in left("mine") if Path(path).is_file()}
    if isinstance(documents, bytes):
        Path("docs.csv").write_bytes(documents)
    else:
        table("docs.csv", documents)
    asked = None if questions is None else table("questions.csv", questions)
    there = left(".")
    with pytest.raises(InputError, match=message):
        run("docs.csv", asked, new=before)
    assert left(".") == there
    assert not before or all(Path(path).read_bytes() == bytes for path, bytes in kept.items())


def test_only_a_folder_of_this_command_is_replaced():
    run(table("docs.csv", DOCUMENTS), table("questions.csv", QUESTIONS))
    with pytest.raises(InputError, match=r"mine: exists; .* --replace"):
        run("docs.csv")
    run("docs.csv", new=True)
    assert left("mine") == ["mine/corpus.jsonl"]
    Path("mine/notes.txt").touch()
    with pytest.raises(InputError, match=r"mine: has notes\.txt, which --replace would delete"):
        run("docs.csv", new=True)
    with pytest.raises(InputError, match=r"params\.yaml: has params\.yaml"):
        run("docs.csv", into="params.yaml", new=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"documents": "sheet.xlsx"}, "sheet.xlsx: must be .jsonl, .* save it as `CSV UTF-8`"),
        ({"questions": "sheet.xlsx"}, "sheet.xlsx: must be"),
        ({"documents": "nope.csv"}, "nope.csv: no such file"),
        ({"into": "docs.csv/mine"}, "docs.csv is a file"),
    ],
)
def test_a_wrong_file_is_refused(options, message):
    table("docs.csv", DOCUMENTS)
    Path("sheet.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=message):
        run(**options)
