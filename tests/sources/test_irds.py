"""`irds:` on the real code of ir_datasets, without a network."""

import os
import random
import subprocess
import sys
import tracemalloc

import ir_datasets
import pytest
from helpers import ROOT, collect, contents, train
from ir_datasets.datasets.base import Dataset
from ir_datasets.datasets.beir import BeirTitleDoc
from ir_datasets.datasets.cord19 import Cord19Doc
from ir_datasets.datasets.msmarco_document import MsMarcoDocument
from ir_datasets.formats import TrecQrels, TsvDocPairs, TsvDocs, TsvQueries
from ir_datasets.util import LocalDownload

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.sources import irds


@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    """`dpr-test/judged` and `dpr-test/triples`, read by ir_datasets' own formats."""
    folder = tmp_path_factory.mktemp("irds")

    def file(name, text):
        (folder / name).write_text(text)
        return LocalDownload(folder / name)

    docs = TsvDocs(file("docs.tsv", "".join(f"{i}\tdocument {i}\n" for i in range(6))))
    queries = TsvQueries(file("queries.tsv", "7\twhat?\n8\twhy?\n9\thow?\n"))
    qrels = TrecQrels(file("qrels", "7 0 1 1\n7 0 2 0\n8 0 3 2\n9 0 4 1\n"), {0: "no", 1: "yes"})
    pairs = TsvDocPairs(file("pairs.tsv", "7\t1\t2\n8\t3\t0\n9\t4\t5\n7\t1\t5\n"))
    ir_datasets.registry.register("dpr-test/judged", Dataset(docs, queries, qrels))
    ir_datasets.registry.register("dpr-test/triples", Dataset(docs, queries, pairs))
    ir_datasets.registry.register("dpr-test/docs", Dataset(docs))
    twice = TrecQrels(file("twice", "7 0 1 1\n7 0 1 1\n8 0 3 1\n"), {1: "yes"})
    ir_datasets.registry.register("dpr-test/twice", Dataset(docs, queries, twice))
    both = TrecQrels(file("both", "7 0 1 1\n7 0 1 2\n"), {1: "yes"})
    ir_datasets.registry.register("dpr-test/both", Dataset(docs, queries, both))


def test_a_collection(tmp_path):
    manifest = collect("irds:dpr-test/judged", tmp_path)
    assert manifest["passages"]["count"] == 6
    assert [p.text for p in beir.read_passages(tmp_path)][:2] == ["document 0", "document 1"]
    assert beir.read_queries(tmp_path)["8"].text == "why?"
    assert beir.read_qrels(tmp_path, "test") == {
        "7": {"1": 1, "2": 0},
        "8": {"3": 2},
        "9": {"4": 1},
    }


def test_all_that_a_dataset_calls_its_text_is_encoded():
    documents = [
        Cord19Doc("c1", "A title", "10.1/x", "2020", "An abstract."),  # no field `text`
        BeirTitleDoc("c2", "A text", "A title"),
        MsMarcoDocument("c3", "url", "A title", "A body"),
    ]
    found = list(irds.passages(documents, "test"))
    assert [contents(p, " ").split() for p in found] == [
        document.default_text().split() for document in documents
    ]
    assert found[1] == ("c2", "A title", "A text")


def test_a_repeated_judgment_counts_once_and_a_contradiction_is_an_error(tmp_path):
    counts = collect("irds:dpr-test/twice", tmp_path)["judgments"]["test"]
    assert (counts["judgments"], counts["repeated"]) == (2, 1)
    with pytest.raises(InputError, match=r"'1' is judged twice for query '7', with two grades"):
        collect("irds:dpr-test/both", tmp_path)


def test_a_limit_is_drawn_by_seed():
    drawn = {
        tuple(pair.query_id for pair in irds.training("dpr-test/triples", 3, 1, seed).pairs)
        for seed in range(9)
    }
    assert len(drawn) > 1  # not always the first two


def test_triples_to_train_on(tmp_path):
    manifest = train("irds:dpr-test/triples", tmp_path)
    assert manifest["source"]["examples"] == 4
    texts = {p.id: p.text for p in beir.read_passages(tmp_path)}
    queries = {q.id: q.text for q in beir.read_queries(tmp_path).values()}
    read = {
        (queries[pair.query_id], texts[pair.passage_id], texts[pair.negative_ids[0]])
        for pair in beir.read_pairs(tmp_path)
    }
    assert 2 <= len(read) <= 3  # one query is held out, with one or two examples
    assert read < {
        ("what?", "document 1", "document 2"),
        ("why?", "document 3", "document 0"),
        ("how?", "document 4", "document 5"),
        ("what?", "document 1", "document 5"),
    }


def register(folder, name, documents, queries, triples):
    """A dataset of such rows."""

    def file(kind, rows):
        (folder / kind).write_text("".join("\t".join(row) + "\n" for row in rows))
        return LocalDownload(folder / kind)

    docs, asked = TsvDocs(file("docs.tsv", documents)), TsvQueries(file("queries.tsv", queries))
    pairs = TsvDocPairs(file("pairs.tsv", triples))
    ir_datasets.registry.register(name, Dataset(docs, asked, pairs))


@pytest.mark.parametrize("limit", [None, 150])
def test_equal_texts_are_one_by_first_appearance(tmp_path, monkeypatch, limit):
    """Against dictionaries; some documents and queries have the same text, some but for spaces."""
    monkeypatch.setattr(irds, "DOCUMENTS", 7)
    monkeypatch.setattr(irds, "QUERIES", 5)
    rng = random.Random(0)
    documents = {f"d{i}": rng.choice(["a", "a ", "b", "", "c "]) + f"x{i % 20}" for i in range(60)}
    queries = {f"q{i}": f"what  is {i % 15}" if i % 2 else f"what is {i % 15}" for i in range(30)}
    triples = [(f"q{rng.randrange(30)}", *rng.sample(list(documents), 2)) for _ in range(200)]
    name = f"dpr-test/equal-{limit}"
    register(tmp_path, name, documents.items(), queries.items(), triples)
    train(f"irds:{name}", tmp_path / "out", held_out=30, train_limit=limit)

    def cleaned(text):
        return " ".join(text.split())

    rows = [(cleaned(queries[q]), *(cleaned(documents[d]) for d in pair)) for q, *pair in triples]
    asked = {q.id: q.text for q in beir.read_queries(tmp_path / "out").values()}
    passages = {p.id: p.text for p in beir.read_passages(tmp_path / "out")}
    if limit is None:
        texts = dict.fromkeys(query for query, *_ in rows)
        assert asked == {f"q{n}": text for n, text in enumerate(texts)}
        texts = dict.fromkeys(text for _, *own in rows for text in own)
        assert passages == {f"p{n}": text for n, text in enumerate(texts)}
    valid = beir.read_qrels(tmp_path / "out", "valid")
    held = {asked[query_id] for query_id in valid}
    trained = [
        (asked[query_id], passages[passage_id], *(passages[n] for n in negatives))
        for query_id, passage_id, negatives in beir.read_pairs(tmp_path / "out")
    ]
    if limit is None:
        assert trained == [row for row in rows if row[0] not in held]
    left = iter(rows)
    assert all(row in left for row in trained)  # in their order
    assert 100 < len(trained) < 200


def test_memory_hardly_grows_with_the_triples(tmp_path, monkeypatch):
    """A triple has 10,000 bytes of text, and adds less than 500."""
    monkeypatch.setattr(irds, "DOCUMENTS", 20)
    monkeypatch.setattr(irds, "QUERIES", 20)
    peaks = {}
    for count in (100, 200, 1_000):
        (tmp_path / str(count)).mkdir()
        documents = [(f"d{i}", f"it is {i} {'x' * 5_000}") for i in range(2 * count)]
        queries = [(f"q{i}", f"what is {i}") for i in range(count)]
        triples = [(f"q{i}", f"d{2 * i}", f"d{2 * i + 1}") for i in range(count)]
        register(tmp_path / str(count), f"dpr-test/{count}", documents, queries, triples)
        ir_datasets.load(f"dpr-test/{count}").docs_store().build()
        tracemalloc.start()
        train(f"irds:dpr-test/{count}", tmp_path / "out", held_out=10)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(beir.read_pairs(tmp_path / "out")) == 990
    assert (peaks[1_000] - peaks[200]) / 800 < 500, peaks


# As a dataset of BEIR: its documents are read from a store, which the first reading builds.
AT_ONCE = """
import os, sys, time
from pathlib import Path
import ir_datasets
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, GenericDoc, TrecQrels, TsvDocPairs, TsvQueries
from ir_datasets.indices import PickleLz4FullStore
from ir_datasets.util import LocalDownload
from dpr.sources import irds

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
if kind == "collection":
    found = irds.collection("slow/judged")
else:
    found = irds.training(f"slow/{kind}", None, 1, 0)
print(len(list(found.passages)), len(list(Docs().docs_iter())))
"""


@pytest.mark.parametrize("kind", ["collection", "judged", "triples"])
def test_two_processes_read_a_dataset_for_the_first_time(tmp_path, kind):
    """Two begin at once, and either would build the documents' store; a third reads it later."""
    (tmp_path / "queries.tsv").write_text("q0\twhat\nq1\twhy\n")
    (tmp_path / "pairs.tsv").write_text("q0\td0\td1\nq1\td29\td2\n")
    (tmp_path / "qrels").write_text("q0 0 d0 1\nq1 0 d29 1\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IR_DATASETS_HOME": str(tmp_path / "home")}

    def start():
        command = [sys.executable, "-c", AT_ONCE, str(tmp_path), kind]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    both = [start(), start()]
    found = [process.communicate(timeout=120) for process in both]
    found.append(start().communicate(timeout=120))
    expected = "4 30" if kind == "triples" else "30 30"  # passages, and documents in the store
    assert [out.strip() for out, _ in found] == [expected] * 3, found


@pytest.mark.parametrize(
    ("row", "what"), [(("q9", "d0", "d1"), "query 'q9'"), (("q0", "d0", "d9"), "document 'd9'")]
)
def test_a_triple_of_an_unknown_id_is_an_error(tmp_path, row, what):
    name = f"dpr-test/unknown-{row[0]}"
    register(tmp_path, name, [("d0", "a"), ("d1", "b")], [("q0", "c")], [("q0", "d0", "d1"), row])
    with pytest.raises(InputError, match=rf"irds:{name}: a triple names the {what}, which"):
        irds.training(name, None, 1, 0)


def test_judgments_to_train_on(tmp_path):
    manifest = train("irds:dpr-test/judged", tmp_path)
    assert manifest["pairs"]["count"] == 2
    assert manifest["judgments"]["valid"]["queries"] == 1


def test_a_limit_draws_pairs_and_keeps_the_judgments_of_their_queries(tmp_path):
    """Ten queries, each with ten relevant documents and one that is not."""

    def file(name, rows):
        (tmp_path / name).write_text("".join(rows))
        return LocalDownload(tmp_path / name)

    docs = TsvDocs(file("docs.tsv", (f"d{n}\tdocument {n}\n" for n in range(110))))
    queries = TsvQueries(file("queries.tsv", (f"q{n}\tquery {n}\n" for n in range(10))))
    grades = {f"q{n // 11}": {} for n in range(110)}
    for n in range(110):
        grades[f"q{n // 11}"][f"d{n}"] = int(n % 11 > 0)
    rows = (f"{q} 0 {d} {grade}\n" for q, own in grades.items() for d, grade in own.items())
    name = "dpr-test/limited"
    ir_datasets.registry.register(name, Dataset(docs, queries, TrecQrels(file("qrels", rows), {})))
    train(f"irds:{name}", tmp_path / "out", held_out=8, train_limit=30)
    pairs = beir.read_pairs(tmp_path / "out")
    qrels = {split: beir.read_qrels(tmp_path / "out", split) for split in ("train", "valid")}
    assert 8 <= 30 - len(pairs) < 30  # those of the queries that are held out
    assert qrels["valid"]
    assert qrels["train"].keys() == {pair.query_id for pair in pairs}
    assert not qrels["train"].keys() & qrels["valid"].keys()
    assert all(own == grades[q] for part in qrels.values() for q, own in part.items())


def test_what_is_not_there():
    with pytest.raises(InputError, match=r"irds:no/such: ir_datasets has no such dataset"):
        irds.collection("no/such")
    with pytest.raises(InputError, match=r"irds:dpr-test/docs: the dataset has no queries"):
        irds.collection("dpr-test/docs")
    with pytest.raises(InputError, match=r"irds:dpr-test/triples: the dataset has no qrels"):
        irds.collection("dpr-test/triples")
