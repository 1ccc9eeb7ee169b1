"""One's own documents and questions become a BEIR folder, whole or not at all."""

import contextlib
import itertools
import shlex
from pathlib import Path

import pandas
import pytest
from collect_helpers import DOCUMENTS, QUESTIONS, WRITERS, changed, left, run, table
from dvc.utils.hydra import apply_overrides
from helpers import collect, train, write_params

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.settings import load_settings
from dpr.sources.collect import MOST, split
from dpr.sources.own import Question
from tools import collect as tool

pytestmark = pytest.mark.usefixtures("here")


def splits(folder="mine"):
    """{split: {question: {document: grade}}}"""
    texts = {query.id: query.text for query in beir.stream_queries(folder)}
    return {
        name: {texts[q]: grades for q, grades in beir.read_qrels(folder, name).items()}
        for name in ("train", "valid", "test")
    }


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_table_of_any_format_becomes_the_corpus_and_each_question_has_its_document(suffix):
    run(table(f"docs{suffix}", DOCUMENTS), table(f"questions{suffix}", QUESTIONS))
    found = [tuple(passage) for passage in beir.read_passages("mine")]
    assert found == list(DOCUMENTS[["doc_id", "Title", "body"]].itertuples(index=False, name=None))
    by_split = splits()
    assert {name: len(asked) for name, asked in by_split.items()} == {
        "train": 18,
        "valid": 6,
        "test": 16,
    }
    together = {q: grades for asked in by_split.values() for q, grades in asked.items()}
    assert together == {f"what is {n}?": {f"d{n}": 1} for n in range(40)}


def test_the_folder_is_read_as_a_collection_and_as_training_data(here):
    run(table("docs.csv", DOCUMENTS), table("questions.csv", QUESTIONS))
    collected = collect("beir:mine", here / "collection")
    assert collected["passages"]["count"] == 40
    assert {s: of["queries"] for s, of in collected["judgments"].items()} == {
        "test": 16,
        "valid": 6,
    }
    assert train("beir:mine", here / "training")["pairs"]["count"] == 18


def test_a_folder_of_text_files():
    files = {
        "b/two words.md": "intro\n\n## The  title ##\nrest",
        "a.txt": "# no heading in plain text",
        "c.md": "no heading",
        "b/.hidden.md": "x",
        ".git/x.txt": "x",
        "scan.pdf": "x",
    }
    for name, text in files.items():
        Path("docs", name).parent.mkdir(parents=True, exist_ok=True)
        Path("docs", name).write_text(text)
    run("docs")
    assert [tuple(passage) for passage in beir.read_passages("mine")] == [
        ("a", "", "# no heading in plain text"),
        ("c", "", "no heading"),
        ("b/two_words", "The  title", "intro\n\n\nrest"),
    ]
    assert left("mine") == ["mine/corpus.jsonl"]


def test_text_files_beside_a_table_are_a_question():
    Path("docs").mkdir()
    Path("docs/README.md").write_text("# Read me")
    table("docs/docs.csv", DOCUMENTS)
    with pytest.raises(InputError, match=r"name the table, such as docs/docs\.csv, or a folder"):
        run("docs")
    Path("docs/docs.csv").unlink()
    Path("docs/OLD.TXT").write_text("of DOS")
    run("docs")
    assert [passage.id for passage in beir.read_passages("mine")] == ["OLD", "README"]


def test_an_answer_may_have_spaces_or_the_suffix_of_its_file():
    Path("docs").mkdir()
    for n in range(30):
        Path(f"docs/page {n}.md").write_text(f"text {n}")
    answers = [f"page {n}.{'md' if n % 4 else 'MD'}" if n % 2 else f"page_{n}" for n in range(30)]
    asked = pandas.DataFrame({"question": [f"what {n}" for n in range(30)], "answer": answers})
    run("docs", table("questions.csv", asked))
    by_split = splits()
    for asked in by_split.values():
        assert all(list(g) == [f"page_{q.split()[1]}"] for q, g in asked.items())


def test_columns_are_told():
    odd = DOCUMENTS.rename(columns={"doc_id": "Nr", "body": "Inhalt", "owner": "text"})
    asked = QUESTIONS.rename(columns={"question": "Frage", "doc_id": "Nr"}).assign(id=range(40))
    names = {"id": "Nr", "text": "inhalt", "question": "FRAGE", "answer": "Nr"}
    run(table("docs.csv", odd), table("questions.csv", asked), **names)
    assert [p.text for p in beir.read_passages("mine")] == list(DOCUMENTS.body)
    assert sum(map(len, splits().values())) == 40


def test_a_told_column_has_no_second_meaning():
    run(table("docs.csv", DOCUMENTS[["doc_id", "Title"]]), text="title")
    assert next(beir.read_passages("mine")) == ("d0", "", "Title 0")


def test_rows_of_one_question_are_one_question_with_several_documents():
    rows = [("What is 1?", "d1", 1), ("what  is 1?", "d2", 2), ("what is 1?", "d3", 0)]
    rows += [("what is nothing?", "d4", 0), ("what is 1?", "d1", 1)]  # none relevant; a repetition
    rows += [(f"what is {n}?", f"d{n}", 1) for n in range(2, 30)]
    asked = pandas.DataFrame(rows, columns=["question", "document_id", "grade"])
    run(table("docs.csv", DOCUMENTS), table("questions.csv", asked))
    together = {q: grades for asked in splits().values() for q, grades in asked.items()}
    assert together["What is 1?"] == {"d1": 1, "d2": 2, "d3": 0}
    assert len(together) == 29 and "what is nothing?" not in together


def test_unknown_answers_are_listed_and_left_out(capsys):
    asked = QUESTIONS.assign(doc_id=["none"] * 7 + [f"d{n}" for n in range(7, 40)])
    run(table("docs.csv", DOCUMENTS), table("questions.csv", asked))
    printed = capsys.readouterr().out
    assert "LEFT OUT: 7 answers that are no document: questions.csv:2: 'none'; " in printed
    assert "questions.csv:6: 'none'; ...\n" in printed
    assert "LEFT OUT: 7 questions" in printed
    assert sum(map(len, splits().values())) == 33


def test_a_cell_of_ten_megabytes():
    table("docs.csv", changed(DOCUMENTS, 3, "body", "long text\n" * 2**20))
    run("docs.csv")
    assert max(len(passage.text) for passage in beir.read_passages("mine")) == 10 * 2**20


@pytest.mark.parametrize("size", [20, 333, 5000])
def test_the_split_is_drawn_by_seed(size):
    asked = [Question(f"q{n}", "") for n in range(size)]
    found = split(asked, 3, Path("f"))
    assert list(found) == ["train", "valid", "test"]
    sizes = {name: len(members) for name, members in found.items()}
    assert sizes["test"] == min(MOST["test"], round(0.4 * size))
    assert sizes["valid"] == min(MOST["valid"], round(0.15 * size))
    assert sorted(q.text for part in found.values() for q in part) == sorted(q.text for q in asked)
    assert found == split(asked, 3, Path("f")) != split(asked, 4, Path("f"))


def overrides(printed, here):
    """The settings after the printed command, which a shell and DVC parse."""
    (line,) = [line for line in printed.splitlines() if line.startswith("dvc exp run")]
    words = shlex.split(line)
    given = [value for option, value in itertools.pairwise(words) if option == "-S"]
    write_params(here / "params.yaml", {})
    apply_overrides(here / "params.yaml", given)
    return load_settings(here / "params.yaml"), words


@pytest.mark.parametrize("into", ["data/mine", "data/mïne (1), a=b ~ it's"])
def test_the_printed_command_sets_what_the_data_needs(here, into, capsys):
    long = changed(DOCUMENTS, slice(0, 9), "body", "word " * 200)
    run(table("docs.csv", long), table("questions.csv", QUESTIONS), into=into)
    printed = capsys.readouterr().out
    settings, _ = overrides(printed, here)
    assert settings.data.collection == settings.data.train == f"beir:{into}"
    assert settings.train.batch_size == 16  # of 18 training questions
    assert settings.data.passages.words == tool.WORDS
    assert shlex.split(printed[printed.index("dvc add") :])[2] == into
    table("docs.csv", DOCUMENTS)
    run("docs.csv", "questions.csv", into=into, new=True)
    again, _ = overrides(capsys.readouterr().out, here)
    assert again.data.version != settings.data.version
    assert again.data.passages.words is None


def test_without_questions_the_documents_can_be_asked(here, capsys):
    run(table("docs.csv", DOCUMENTS))
    printed = capsys.readouterr().out
    assert "no questions: nothing can be measured" in printed
    settings, words = overrides(printed, here)
    assert settings.data.collection == "beir:mine"
    assert words[-2:] == ["index@zero_shot", "bm25_index"]
    assert printed.count("python -m tools.ask --system") == 3
    collected = collect("beir:mine", here / "collection")
    assert collected["passages"]["count"] == 40
    assert collected["queries"]["count"] == collected["judgments"]["test"]["judgments"] == 0
    assert "nothing can be measured" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"no split 'train'"):
        train("beir:mine", here / "training")


def test_a_folder_outside_the_repository_is_absolute_and_not_added_to_dvc(here, capsys):
    table("docs.csv", DOCUMENTS)
    (here / "repository").mkdir()
    write_params(here / "repository/params.yaml", {})
    with contextlib.chdir(here / "repository"):
        run("../docs.csv", into="../mine")
        printed = capsys.readouterr().out
        settings, _ = overrides(printed, here / "repository")
    assert settings.data.collection == f"beir:{here}/mine"
    assert "dvc add" not in printed
