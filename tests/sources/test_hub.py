"""`hf:ORG/NAME` against a stand-in hub on the loopback: the files are those of beir: and pairs:."""

import shutil

import huggingface_hub
import pandas as pd
import pytest
from helpers import HEADER, ROOT, collect, jsonl, train
from hub import commit_of, hub
from hydra.core.override_parser.overrides_parser import OverridesParser

from dpr.base.errors import InputError
from dpr.records import beir

PASSAGES = pd.DataFrame({"_id": ["d0", "d1"], "text": ["a heart", "a lung"]})
QUERIES = pd.DataFrame({"_id": ["q0", "q1"], "text": ["heart?", "lung?"]})
QRELS = pd.DataFrame({"query-id": ["q0"], "corpus-id": ["d0"]})
TEXTS = {
    "corpus.jsonl": jsonl(*PASSAGES.to_dict("records")),
    "queries.jsonl": jsonl(*QUERIES.to_dict("records")),
}
TESTED = HEADER + b"q0\td0\t1\n"
PAIRS = pd.DataFrame({"anchor": ["a b", "c d"], "positive": ["yes", "sure"]})


def parquet(folder, table, frame):
    return {f"{folder}/{table}-00000-of-00001.parquet": frame.to_parquet(index=False)}


DATA = {
    "org/beir": TEXTS | {"qrels/test.tsv": TESTED, "README.md": b"x", "run.py": b"raise"},
    "org/two": TEXTS | {"dataset_infos.json": b"{}"},
    "org/two-qrels": {"test.tsv": TESTED, "train.tsv": HEADER + b"q1\td1\t1\n"},
    "org/alone": TEXTS,
    "org/nano": {
        path: content
        for name, texts in (("NanoOne", PASSAGES), ("NanoTwo", PASSAGES[:1]))
        for folder, frame in (("corpus", texts), ("queries", QUERIES), ("qrels", QRELS))
        for path, content in parquet(folder, name, frame).items()
    },
    "org/pairs": parquet("data", "train", PAIRS) | parquet("data", "test", PAIRS[:1]),
    "org/kinds": parquet("pair", "train", PAIRS) | parquet("pair-new", "train", PAIRS[:1]),
    "org/gated": None,
}


def point_to(address, monkeypatch):
    constants = huggingface_hub.constants
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """{repository: {path: bytes}} of the hub; its cache is empty."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with hub() as (address, stored):
        point_to(address, monkeypatch)
        stored |= {f"datasets/{name}": files for name, files in DATA.items()}
        yield stored


def passages(folder):
    return [(passage.id, passage.text) for passage in beir.read_passages(folder)]


@pytest.mark.parametrize(
    ("name", "count"),
    [("beir", 2), ("two", 2), ("beir@main", 2), ("nano#NanoOne", 2), ("nano#NanoTwo", 1)],
)
def test_a_collection_is_that_of_the_files(stored, tmp_path, name, count):
    source = collect(f"hf:org/{name}", tmp_path / "out")["source"]
    repository = name.partition("#")[0].partition("@")[0]
    assert (source["hub"], source["commit"]) == (
        f"org/{repository}",
        commit_of(DATA[f"org/{repository}"]),
    )
    if name == "two":
        assert source["qrels_commit"] == commit_of(DATA["org/two-qrels"])
    assert passages(tmp_path / "out") == [tuple(row) for row in PASSAGES.values[:count]]
    assert beir.read_qrels(tmp_path / "out", "test") == {"q0": {"d0": 1}}
    fetched = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}
    assert not fetched & {"README.md", "run.py"}
    subset = name.partition("#")[2]
    fetched = {path.name for path in (tmp_path / "cache").rglob("*.parquet")}
    assert fetched == ({f"{subset}-00000-of-00001.parquet"} if subset else set())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pairs", {("a b", "yes"), ("c d", "sure")}),
        ("pairs#test", {("a b", "yes")}),
        ("kinds#pair", {("a b", "yes"), ("c d", "sure")}),
        ("kinds#pair-new", {("a b", "yes")}),
        ("two", {("lung?", "a lung")}),
    ],
)
def test_training_data(stored, tmp_path, name, expected):
    train(f"hf:org/{name}", tmp_path / "out", held_out=0)
    texts = dict(passages(tmp_path / "out"))
    queries = beir.read_queries(tmp_path / "out")
    pairs = beir.read_pairs(tmp_path / "out")
    assert {(queries[pair.query_id].text, texts[pair.passage_id]) for pair in pairs} == expected


WRONG = {
    "org/none": "the hub has no such data set, or it is private; .*hf auth login",
    "org/gated": "only on request; .*hf auth login",
    "org/beir@old": "no revision 'old'; give a branch, a tag or a commit",
    "org/nano#NanoThree": "no such subset; there are: NanoOne, NanoTwo$",
    "org/nano": "choose one of these by hf:org/nano#NAME: NanoOne, NanoTwo",
    "org/alone": "no qrels in it; tried hf:org/alone-qrels: the hub has no such",
    "org/pairs": "no corpus, queries and qrels in it: it cannot be searched",
    "org": "'hf:org' is not hf:ORG/NAME",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_hub_does_not_have(stored, tmp_path, name):
    with pytest.raises(InputError, match=WRONG[name]) as error:
        collect(f"hf:{name}", tmp_path / "out")
    assert "\n" not in str(error.value)


def test_a_subset_of_pairs_has_to_be_named(stored, tmp_path):
    with pytest.raises(InputError, match="choose a subset by hf:org/kinds#SUBSET: pair, pair-new"):
        train("hf:org/kinds", tmp_path / "out")


def test_without_a_network_a_whole_snapshot_is_used(stored, tmp_path, monkeypatch):
    made = collect("hf:org/two", tmp_path / "out")
    point_to("http://127.0.0.1:9", monkeypatch)
    assert collect("hf:org/two", tmp_path / "again") == made
    (file,) = (tmp_path / "cache").glob("datasets--org--two/snapshots/*/corpus.jsonl")
    file.unlink()
    for name in ("two", "beir"):
        with pytest.raises(InputError, match=r"the cache \(HF_HOME\) lacks it .*beir:FOLDER"):
            collect(f"hf:org/{name}", tmp_path / "out")
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("hf:BeIR/scifact", "hf:BeIR/scifact"),
        ('"hf:ORG/NAME@REVISION#SUBSET"', "hf:ORG/NAME@REVISION#SUBSET"),
        ('"beir:/PATH/NanoBEIR#NanoSciFact"', "beir:/PATH/NanoBEIR#NanoSciFact"),
    ],
)
def test_dvc_takes_the_names_as_the_docs_quote_them(written, name):
    assert f"data.collection={written}" in (ROOT / "docs/collections.md").read_text()
    parsed = OverridesParser.create().parse_override(f"data.collection={written}")
    assert parsed.value() == name
