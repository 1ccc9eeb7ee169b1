"""docs/yours.md, as an engineer follows it: a CSV of documents, one of questions, its commands."""

import re
import sys

import pandas
import pytest
import small_collection
from helpers import ROOT, clone_into, sh

from dpr.base.files import read_json
from dpr.embeddings.artifact import Embeddings
from dpr.records import beir

PAGE = (ROOT / "docs/yours.md").read_text()
TINY = {
    "name: sentence-transformers/all-MiniLM-L6-v2": "name: {}",
    "max_steps: 70": "max_steps: 2",
    "eval_every: 70": "eval_every: 2",
    "use: true ": "use: false ",  # of the second round
    "precision: auto": "precision: fp32",
}


def blocks(language):
    """The lines of the page in a language, without comments."""
    text = "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))
    return [line.split("  #")[0].rstrip() for line in text.splitlines() if line]


def write_tables(folder):
    """The small collection as people have it."""
    small_collection.write(folder / "small")
    passages = pandas.DataFrame(beir.read_passages(folder / "small"))
    passages.to_csv(folder / "docs.csv", index=False)
    queries = beir.read_queries(folder / "small")
    judged = [(split, beir.read_qrels(folder / "small", split)) for split in ("train", "valid")]
    rows = [
        (queries[query].text, document, grade)
        for _, qrels in judged
        for query, grades in qrels.items()
        for document, grade in grades.items()
    ]
    table = pandas.DataFrame(rows, columns=["question", "document_id", "grade"])
    table.to_csv(folder / "questions.csv", index=False)


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path, tiny_model):
    clone = clone_into(tmp_path / "clone", lock=False)
    params = (clone / "params.yaml").read_text()
    for old, new in TINY.items():
        assert old in params, old
        params = params.replace(old, new.format(tiny_model))
    (clone / "params.yaml").write_text(params)
    write_tables(clone)

    collect, *rest, export = blocks("bash")
    printed = sh(clone, collect).split("next:\n")[1].splitlines()
    assert all(line.startswith(words) for line, words in zip(printed[:3], rest, strict=True))
    for command in printed[:3]:
        sh(clone, command.replace("dvc exp", f"{sys.executable} tests/pipeline/forked_dvc.py exp"))
    systems = read_json(clone / "metrics/compare.json")["systems"]
    assert systems["bm25"]["nDCG@10"]["mean"] > 0.5  # a question has a word of its documents
    assert (clone / "report.html").exists()

    sh(clone, export)
    vectors = pandas.read_parquet(clone / "vectors.parquet")
    assert len(vectors) == len(Embeddings.open(clone / "data/embeddings/dense").ids)
    (clone / "try.py").write_text("\n".join([*blocks("python"), "print(float(score))"]))
    score = float(sh(clone, f"{sys.executable} try.py"))
    assert -1 <= score <= 1
