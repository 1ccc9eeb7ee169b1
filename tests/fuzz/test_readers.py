"""Damaged input gives records or an InputError: no other error, and no hang."""

import gzip
import json
import random
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT
from index_helpers import build_and_open, make_embeddings
from mutations import mutated

from dpr.base.errors import InputError
from dpr.base.files import sha256, write_json
from dpr.embeddings.artifact import Embeddings
from dpr.encoders.spec import read_spec
from dpr.indexes.index import Index
from dpr.records import beir
from dpr.records.ids import Ids, write_ids
from dpr.records.scores import read_scores
from dpr.runs import trec
from dpr.settings import load_settings
from dpr.sources import beir_rows, medline_xml, text_pairs
from dpr.sources.reading import Findings

SECONDS = 10  # of CPU time, for one input
IN_ALL, IN_ALL_SLOW = 3_000, 500_000

JSONL = [{"_id": f"d{i}", "title": "A title", "text": "é and “words” " * i} for i in range(6)]
QUERIES = [{"_id": f"q{i}", "text": "words", "is_passage": True} for i in range(6)]
PAIRS = [{"query_id": f"q{i}", "passage_id": "d1", "negative_ids": ["d2"]} for i in range(6)]
SCORES = [{"query_id": "q1", "passage_ids": ["d1", "d2"], "scores": [0.5, 1]}, {"query_id": "q2"}]
SCORES[1] |= {"passage_id": "d1", "score": 2.5}
RUN = "".join(f"q{i // 3} Q0 d{i} {i % 3 + 1} {9 - i}.5 tag\n" for i in range(9))
QRELS = "query-id\tcorpus-id\tscore\n" + "".join(f"q{i // 2}\td{i}\t{i % 3}\n" for i in range(8))
XML = """<?xml version="1.0"?>
<MedlineCitationSet><MedlineCitation><PMID>7</PMID><Article><ArticleTitle>A <i>title</i>
</ArticleTitle><Abstract><AbstractText>Text &amp; more.</AbstractText></Abstract>
<Language>eng</Language></Article><MeshHeadingList><MeshHeading>
<DescriptorName UI="D1" MajorTopicYN="Y">Heart</DescriptorName><QualifierName UI="Q1"
MajorTopicYN="N">surgery</QualifierName></MeshHeading></MeshHeadingList></MedlineCitation>
</MedlineCitationSet>
"""
SIDE = {"max_length": 32, "prefix": "a: ", "modules": [".", "1_Pooling"]}
SPEC = {"similarity": "cosine", "tied": True, "query": SIDE, "passage": SIDE}


def jsonl(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def embeddings(folder):
    opened = Embeddings.open(folder)
    opened.read(0, 3), opened.take([0, 2]), list(opened.ids), opened.ids[1]


def index(folder):
    given = make_embeddings("cosine", count=40)
    opened = Index.open(folder, given)
    opened.search(given.vectors[:2], 3)


def examples(read, file):
    list(read([file], " ", Findings()))


def passages(file):
    list(beir_rows.read_passages([file], Findings()))


def ids(folder):
    opened = Ids.open(folder)
    list(opened), opened[0], opened[len(opened) - 1]


PARAMS = (ROOT / "params.yaml").read_bytes()
TABLE, ARRAY = pd.DataFrame(JSONL), json.dumps(JSONL).encode()
ZIPPED = gzip.compress(jsonl(JSONL))
TRIPLES, TEXT_PAIRS = b"what\ta yes\ta no\n" * 4, b"what\ta yes\n" * 4
# name: (file, its bytes or None for a file of an artifact, what reads the folder)
READERS = {
    "passages": ("corpus.jsonl", jsonl(JSONL), lambda f: list(beir.read_passages(f))),
    "queries": ("queries.jsonl", jsonl(QUERIES), beir.read_queries),
    "pairs": ("pairs.jsonl", jsonl(PAIRS), beir.read_pairs),
    "qrels": ("qrels/test.tsv", QRELS.encode(), lambda f: beir.read_qrels(f, "test")),
    "run": ("run.txt", RUN.encode(), lambda f: dict(trec.read_run(f / "run.txt"))),
    "scores": ("s.jsonl", jsonl(SCORES), lambda f: list(read_scores(f / "s.jsonl"))),
    "triples": (
        "t.tsv",
        TRIPLES,
        lambda f: examples(text_pairs.read_triples, f / "t.tsv"),
    ),
    "text pairs": (
        "p.tsv",
        TEXT_PAIRS,
        lambda f: examples(text_pairs.read_pairs, f / "p.tsv"),
    ),
    "CSV": ("c.csv", TABLE.to_csv().encode(), lambda f: passages(f / "c.csv")),
    "Parquet": ("c.parquet", TABLE.to_parquet(), lambda f: passages(f / "c.parquet")),
    "an array": (
        "c.json",
        TABLE.to_json(orient="records").encode(),
        lambda f: passages(f / "c.json"),
    ),
    "zipped": ("corpus.jsonl.gz", ZIPPED, lambda f: list(beir.read_passages(f))),
    "XML": ("m.xml.gz", XML.encode(), lambda f: list(medline_xml.read_citations(f / "m.xml.gz"))),
    "params": ("params.yaml", PARAMS, lambda f: load_settings(f / "params.yaml")),
    "spec": ("encoder.json", json.dumps(SPEC).encode(), read_spec),
    "vectors": ("vectors.npy", None, embeddings),
    "embeddings' manifest": ("manifest.json", None, embeddings),
    "ids": ("ids.txt", None, ids),
    "ends of ids": ("ids.npy", None, ids),
    "index": ("index.faiss", None, index),
    "index's manifest": ("manifest.json", None, index),
}


@pytest.fixture
def folder(tmp_path):
    """An artifact of 40 vectors, or of an index of them."""

    def write(read):
        artifact = tmp_path / "artifact"
        given = make_embeddings("cosine", count=40)
        if read is index:
            build_and_open(given, artifact, kind="IVF4,SQ8")
        else:
            artifact.mkdir()
            np.save(artifact / "vectors.npy", given.vectors)
            write_ids(artifact, given.ids, 40)
            about = {"count": 40, "dimension": 16, "ids_sha256": sha256(artifact / "ids.txt")}
            write_json(artifact / "manifest.json", given.manifest | about)
        return artifact

    return write


@pytest.mark.parametrize("count", [IN_ALL, pytest.param(IN_ALL_SLOW, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_damaged_input_is_read_or_refused(tmp_path, folder, name, count):
    file, content, read = READERS[name]
    where = tmp_path if content else folder(read)
    path, rng = where / file, random.Random(name)
    path.parent.mkdir(exist_ok=True)
    content = content or path.read_bytes()
    refused = 0
    for number in range(count // len(READERS)):
        damaged = mutated(content, rng)
        path.write_bytes(gzip.compress(damaged, 1) if name == "XML" else damaged)
        started = time.process_time()
        try:
            read(where)
        except InputError as error:
            refused += 1
            assert "\n" not in str(error) or name == "params"  # YAML shows the lines
            names = (file.removesuffix(".gz"), "ids.", where.name)
            assert any(name in str(error) for name in names), error
        except Exception as error:
            copy = shutil.copy(path, tmp_path.parent / f"{name}-{number}")
            raise AssertionError(f"{type(error).__name__}: {error}; the input is {copy}") from error
        assert time.process_time() - started < SECONDS
    assert refused > count // len(READERS) // 10
