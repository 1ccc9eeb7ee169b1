"""`irds:` on the real code of ir_datasets, without a network."""

import os
import subprocess
import sys

import ir_datasets
import pytest
from helpers import ROOT, collect, contents, train, training
from ir_datasets.datasets.base import Dataset
from ir_datasets.datasets.beir import BeirTitleDoc
from ir_datasets.datasets.cord19 import Cord19Doc
from ir_datasets.datasets.msmarco_document import MsMarcoDocument
from ir_datasets.formats import TrecQrels, TsvDocPairs, TsvDocs, TsvQueries
from ir_datasets.util import LocalDownload

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.sources import irds

DOCUMENTS = [(str(i), f"document {i}") for i in range(6)]
QUERIES = [("7", "what?"), ("8", "why?"), ("9", "how?")]
JUDGED = ["7 0 1 1", "7 0 2 0", "8 0 3 2", "9 0 4 1"]
TRIPLES = [("7", "1", "2"), ("8", "3", "0"), ("9", "4", "5"), ("7", "1", "5")]


@pytest.fixture
def register(tmp_path_factory):
    """register(name, triples=..., qrels=...): a dataset read by ir_datasets' own formats."""

    def register(name, documents=DOCUMENTS, queries=QUERIES, triples=None, qrels=None):
        folder = tmp_path_factory.mktemp("irds")

        def file(kind, lines):
            (folder / kind).write_text("".join(f"{line}\n" for line in lines))
            return LocalDownload(folder / kind)

        parts = [TsvDocs(file("docs.tsv", map("\t".join, documents)))]
        if queries:
            parts.append(TsvQueries(file("queries.tsv", map("\t".join, queries))))
        if triples:
            parts.append(TsvDocPairs(file("pairs.tsv", map("\t".join, triples))))
        if qrels:
            parts.append(TrecQrels(file("qrels", qrels), {}))
        ir_datasets.registry.register(name, Dataset(*parts))
        return f"irds:{name}"

    yield register
    for name in [name for name in ir_datasets.registry._registered if name.startswith("test/")]:
        del ir_datasets.registry._registered[name]


def test_a_collection(register, tmp_path):
    manifest = collect(register("test/judged", qrels=JUDGED), tmp_path)
    assert manifest["passages"]["count"] == 6
    assert [p.text for p in beir.read_passages(tmp_path)][:2] == ["document 0", "document 1"]
    assert beir.read_queries(tmp_path)["8"].text == "why?"
    expected = {"7": {"1": 1, "2": 0}, "8": {"3": 2}, "9": {"4": 1}}
    assert beir.read_qrels(tmp_path, "test") == expected


def test_the_whole_text_of_a_document_is_encoded():
    documents = [
        Cord19Doc("c1", "A title", "10.1/x", "2020", "An abstract."),  # no field `text`
        BeirTitleDoc("c2", "A text", "A title"),
        MsMarcoDocument("c3", "url", "A title", "A body"),
    ]
    passages = list(irds.passages(documents, "test"))
    assert [contents(p, " ").split() for p in passages] == [
        document.default_text().split() for document in documents
    ]
    assert passages[1] == ("c2", "A title", "A text")


def test_a_repeated_judgment_counts_once_and_a_contradiction_is_an_error(register, tmp_path):
    name = register("test/twice", qrels=["7 0 1 1", "7 0 1 1", "8 0 3 1"])
    counts = collect(name, tmp_path)["judgments"]["test"]
    assert (counts["judgments"], counts["repeated"]) == (2, 1)
    with pytest.raises(InputError, match=r"'1' is judged twice for query '7', with two grades"):
        collect(register("test/both", qrels=["7 0 1 1", "7 0 1 2"]), tmp_path)


# As a dataset of BEIR: its documents are read from a store, which the first reading builds.
AT_ONCE = """
import os, sys, time
from pathlib import Path
import ir_datasets
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, GenericDoc, TrecQrels, TsvDocPairs, TsvQueries
from ir_datasets.indices import PickleLz4FullStore
from ir_datasets.util import LocalDownload
from dpr.settings import load_settings
from dpr.sources import irds
from dpr.sources.types import Request

class Docs(BaseDocs):
    def docs_iter(self):
        return iter(self.docs_store())

    def docs_cls(self):
        return GenericDoc

    def docs_store(self, field="doc_id"):
        path = ir_datasets.util.home_path() / "docs.pklz4"
        return PickleLz4FullStore(str(path), self.rows, GenericDoc, field, ["doc_id"])

    def rows(self):
        for i in range(30):
            time.sleep(0.02)
            yield GenericDoc(f"d{i}", f"text {i}")

folder, kind = Path(sys.argv[1]), sys.argv[2]
queries = TsvQueries(LocalDownload(folder / "queries.tsv"))
pairs = TsvDocPairs(LocalDownload(folder / "pairs.tsv"))
qrels = TrecQrels(LocalDownload(folder / "qrels"), {1: "yes"})
ir_datasets.registry.register("slow/triples", Dataset(Docs(), queries, pairs))
ir_datasets.registry.register("slow/judged", Dataset(Docs(), queries, qrels))
(folder / f"{os.getpid()}.ready").touch()
while len(list(folder.glob("*.ready"))) < 2:
    time.sleep(0.01)
settings = load_settings("params.yaml").data.model_copy(update={"held_out": 1})
name = "slow/judged" if kind == "collection" else f"slow/{kind}"
read = irds.collection if kind == "collection" else irds.training
data = read(Request(name, settings))
print(len(list(data.passages)), len(list(Docs().docs_iter())))
"""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("collection", marks=pytest.mark.slow),
        pytest.param("judged", marks=pytest.mark.slow),
        "triples",
    ],
)
def test_two_processes_read_a_dataset_for_the_first_time(tmp_path, kind):
    """Two begin at once, and either would build the documents' store; a third reads it later."""
    (tmp_path / "queries.tsv").write_text("q0\twhat\nq1\twhy\n")
    (tmp_path / "pairs.tsv").write_text("q0\td0\td1\nq1\td29\td2\n")
    (tmp_path / "qrels").write_text("q0 0 d0 1\nq1 0 d29 1\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IR_DATASETS_HOME": str(tmp_path / "home")}

    def start():
        command = [sys.executable, "-c", AT_ONCE, str(tmp_path), kind]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)

    both = [start(), start()]
    outputs = [process.communicate(timeout=120) for process in both]
    outputs.append(start().communicate(timeout=120))
    expected = "4 30" if kind == "triples" else "30 30"  # passages, and documents in the store
    assert [out.strip() for out, _ in outputs] == [expected] * 3, outputs


@pytest.mark.parametrize(
    ("row", "what"), [(("6", "0", "1"), "query '6'"), (("7", "0", "9"), "document '9'")]
)
def test_a_triple_of_an_unknown_id_is_an_error(register, row, what):
    name = register("test/unknown", triples=[*TRIPLES, row])
    with pytest.raises(InputError, match=rf"{name}: a triple names the {what}, which"):
        training(name)


def test_judgments_to_train_on(register, tmp_path):
    """Ten queries, each with ten relevant documents and one that is not; a limit draws pairs."""
    grades = {f"q{n}": {f"d{11 * n + i}": int(i > 0) for i in range(11)} for n in range(10)}
    name = register(
        "test/limited",
        documents=[(f"d{n}", f"document {n}") for n in range(110)],
        queries=[(q, f"query {q}") for q in grades],
        qrels=[f"{q} 0 {d} {grade}" for q, own in grades.items() for d, grade in own.items()],
    )
    for limit, held_out in ((None, 1), (30, 8)):
        train(name, tmp_path / "out", held_out=held_out, train_limit=limit)
        pairs = beir.read_pairs(tmp_path / "out")
        qrels = {split: beir.read_qrels(tmp_path / "out", split) for split in ("train", "valid")}
        left_out = (limit or 100) - len(pairs)  # those of the queries that are held out
        assert held_out <= left_out < held_out + 10
        assert qrels["train"].keys() == {pair.query_id for pair in pairs}
        assert qrels["valid"] and not qrels["train"].keys() & qrels["valid"].keys()
        assert all(own == grades[q] for part in qrels.values() for q, own in part.items())


def test_missing_data_is_named(register, tmp_path):
    for name, message in [
        ("irds:no/such", r"irds:no/such: ir_datasets has no such dataset"),
        (register("test/docs", queries=None), r"irds:test/docs: the dataset has no queries"),
        (register("test/triples", triples=TRIPLES), "test/triples: the dataset has no qrels"),
    ]:
        with pytest.raises(InputError, match=message):
            collect(name, tmp_path)
    with pytest.raises(InputError, match="no training triples and no judgments"):
        train(register("test/neither"), tmp_path)


def test_the_same_documents_and_queries_are_the_same_place():
    """Of ir_datasets: clinicaltrials/2021 has topics 1, 2, ... of each year."""
    same = irds.id_space("msmarco-passage/train")
    assert irds.id_space("msmarco-passage/train/triples-small") == same
    years = {irds.id_space(f"clinicaltrials/2021/trec-ct-{year}") for year in (2021, 2022)}
    assert len(years | {same, irds.id_space("beir/scifact"), irds.id_space("beir/nfcorpus")}) == 5
