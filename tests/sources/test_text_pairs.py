"""Texts without ids, from files and from ir_datasets, against dictionaries; and their memory."""

import gzip
import random
import tracemalloc
from collections import Counter

import ir_datasets
import pytest
from helpers import DATA, jsonl, train
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import TsvDocPairs, TsvDocs, TsvQueries
from ir_datasets.util import LocalDownload

from dpr.records import beir
from dpr.records.types import Pair
from dpr.sources import irds, registry, write
from dpr.sources.mixture import mix, separate
from dpr.sources.types import Training


def cleaned(text):
    return " ".join(text.split())


@pytest.fixture
def examples(tmp_path_factory, monkeypatch):
    """examples(kind, rows) -> the name of a source with these texts; blocks are small."""
    monkeypatch.setattr(irds, "DOCUMENTS", 20)
    monkeypatch.setattr(irds, "QUERIES", 20)

    def source(kind, rows):
        folder = tmp_path_factory.mktemp("examples")

        def file(name, rows):
            (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows))
            return LocalDownload(folder / name)

        if kind != "irds":
            return f"{kind}:{file('f.tsv', rows).path()}"
        seen, ids = Counter(), {}

        def id_of(text):  # a new id at each sixth appearance, so that ids share a text
            seen[text] += 1
            return ids.setdefault((text, seen[text] // 6), f"t{len(ids)}")

        triples = [tuple(map(id_of, row)) for row in rows]
        texts = {key: text for (text, _), key in ids.items()}
        queries = {key: texts[key] for key, *_ in triples}
        parts = [TsvDocs(file("d.tsv", texts.items())), TsvQueries(file("q.tsv", queries.items()))]
        name = f"test/{folder.name}"
        dataset = Dataset(*parts, TsvDocPairs(file("p.tsv", triples)))
        ir_datasets.registry.register(name, dataset)
        dataset.docs_store().build()
        return f"irds:{name}"

    return source


WORDS = ["heart", "lung", "caf\u00e9", "bone", "bone ", " skin"]


@pytest.mark.parametrize("kind", ["pairs", "triples", "irds"])
@pytest.mark.parametrize("limit", [None, 150])
def test_identical_texts_are_one_by_first_appearance(tmp_path, examples, kind, limit):
    rng = random.Random(0)
    columns = 2 if kind == "pairs" else 3
    lines = [[" ".join(rng.choices(WORDS, k=2)) for _ in range(columns)] for _ in range(200)]
    manifest = train(examples(kind, lines), tmp_path / "out", held_out=30, train_limit=limit)
    assert manifest["source"]["examples"] == (limit or 200)
    assert [rows["repeated"] for rows in manifest["judgments"].values()] == [0, 0]
    rows = [tuple(map(cleaned, line)) for line in lines]
    queries = {q.id: q.text for q in beir.read_queries(tmp_path / "out").values()}
    passages = {p.id: p.text for p in beir.read_passages(tmp_path / "out")}
    trained = [
        (queries[query_id], passages[passage_id], *(passages[n] for n in negatives))
        for query_id, passage_id, negatives in beir.read_pairs(tmp_path / "out")
    ]
    valid = beir.read_qrels(tmp_path / "out", "valid")
    held = {queries[query_id] for query_id in valid}
    assert not held & {query for query, *_ in trained}
    if limit is None:
        texts = dict.fromkeys(query for query, *_ in rows)
        assert queries == {f"q{n}": text for n, text in enumerate(texts)}
        texts = dict.fromkeys(text for _, *own in rows for text in own)
        assert passages == {f"p{n}": text for n, text in enumerate(texts)}
        assert trained == [row for row in rows if row[0] not in held]
    left = iter(rows)
    assert all(row in left for row in trained)  # in the order of the file
    judged = {
        (queries[query_id], passages[passage_id])
        for split in ("train", "valid")
        for query_id, grades in beir.read_qrels(tmp_path / "out", split).items()
        for passage_id in grades
    }
    assert judged == {row[:2] for row in trained} | {row for row in judged if row[0] in held}
    assert len(queries) == len({query for query, _ in judged})


def test_a_gzipped_file_and_json_lines_are_the_same_pairs(tmp_path):
    rows = [("a", "one"), ("b", "two")]
    lines = "".join("\t".join(row) + "\n" for row in rows).encode()
    objects = jsonl(*({"query": query, "passage": passage} for query, passage in rows))
    files = {"p.tsv": lines, "p.tsv.gz": gzip.compress(lines), "p.jsonl": objects}
    written = []
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        train(f"pairs:{tmp_path / name}", tmp_path / "out")
        written.append(
            [
                (tmp_path / "out" / file).read_bytes()
                for file in ("corpus.jsonl", "queries.jsonl", "pairs.jsonl", "qrels/train.tsv")
            ]
        )
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("kind", ["pairs", "irds"])
def test_memory_hardly_grows_with_the_pairs(folder, tmp_path, examples, kind):
    """No text stays in memory: a pair has 5,000 bytes or more, and adds less than 500."""
    peaks = {}
    for count in (100, 200, 1_000):
        rows = [(f"what is {i}", f"it is {i} {'x' * 5_000}", f"no {i}") for i in range(count)]
        name = examples(kind, rows if kind == "irds" else [row[:2] for row in rows])
        changes = {"collection": f"beir:{folder}", "train": name, "held_out": 10}
        data = DATA.model_copy(update=changes)
        del rows
        tracemalloc.start()
        collection, sources = registry.open_collection(data), registry.open_training(data)
        _, sources, _ = separate(collection, sources, "refuse")
        write.write_training(mix(data.source_names, sources), tmp_path / "out", "pairs")
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(beir.read_pairs(tmp_path / "out")) == 990
    assert (peaks[1_000] - peaks[200]) / 800 < 500, peaks


def test_what_can_be_read_only_once_is_refused():
    pairs = (Pair("q", "p") for _ in "a")
    with pytest.raises(TypeError, match="only once"):
        Training(passages=[], queries=[], qrels={}, pairs=pairs, description={})
