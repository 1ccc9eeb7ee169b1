"""The rounds of training, stage by stage: what each mines with, begins with and leaves."""

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, contents, jsonl, write_params

from dpr.base.errors import InputError
from dpr.base.files import read_json, sha256
from dpr.bm25 import lucene
from dpr.embeddings import passages as encoding
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.scores import read_scores
from dpr.records.types import Query

SMALL = {
    "encode.precision": "fp32",
    "train.max_steps": 10,
    "train.eval_every": 10,
    "train.batch_size": 6,
    "train.valid_passages": 40,
    "train.precision": "fp32",
    "train.lr": 1e-3,
    "train.initial_share": 0.0,
    "mine.per_pair": 1000,
}


@pytest.fixture
def stages(tmp_path, make_encoder, collection, monkeypatch):
    """stages("first", "mine", **changes) -> runs these stages of a round."""
    folder = tmp_path / "workspace"
    for name in ("collection", "training"):
        shutil.copytree(collection, folder / "data" / name)
    checkpoint.save(make_encoder(), folder / "data/encoders/zero_shot")
    shutil.copy(ROOT / "versions.yaml", folder)
    monkeypatch.chdir(folder)

    def run(argument, *names, **changes):
        write_params(Path("params.yaml"), SMALL | changes)
        for name in names:
            importlib.import_module(f"stages.{name}").main(argument)

    return run


ROUND = ("vectors", "mine", "train")
SECOND = {"second.use": True, "second.mine": {}, "second.train": {}}


def files(folder):
    """{path: sha256} of the files below a folder."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def weights(folder):
    return {name: value for name, value in checkpoint.load(folder).named_parameters()}


def test_without_the_second_round_the_encoder_is_handed_on(stages):
    stages("first", *ROUND)
    stages("second", *ROUND)
    assert files("data/encoders/dense") == files("data/encoders/first")
    assert files("data/encoders/first") != files("data/encoders/zero_shot")
    assert read_json("metrics/train_second.json") == {"steps": 0}
    assert read_json("metrics/mine_second.json") == {"pairs": 0}


def test_nothing_of_an_older_encoder_stays_when_it_is_handed_on(stages, make_encoder):
    checkpoint.save(make_encoder(tied=False), "data/encoders/dense")
    checkpoint.save(make_encoder(), "data/encoders/first")
    stages("second", "train")
    assert files("data/encoders/dense") == files("data/encoders/first")


def test_the_second_round_begins_with_the_encoder_of_the_first(stages):
    stages("first", *ROUND)
    first = weights("data/encoders/first")
    stages("second", *ROUND, **SECOND | {"train.max_steps": 0})
    for name, value in weights("data/encoders/dense").items():
        assert (value == first[name]).all(), name
    stages("second", *ROUND, **SECOND)
    trained = weights("data/encoders/dense")
    assert any((trained[name] != value).any() for name, value in first.items())
    shown = [read_json(f"metrics/train{suffix}.json") for suffix in ("", "_second")]
    # Its validation before the first step is that of the first round's best step.
    assert shown[1]["untrained"]["nDCG@10"] == pytest.approx(shown[0]["best"]["nDCG@10"])
    assert shown[1]["untrained"]["loss"] == pytest.approx(shown[0]["best"]["loss"], rel=1e-4)


def ranked(encoder, query):
    """(id, score) of all passages, as an encoder ranks them for a text, by numpy."""
    passages = list(beir.read_passages("data/training"))
    tokens = encoder.tokenize([contents(passage) for passage in passages], "passage")
    vectors = encoder.embed(tokens, "passage", 999, "fp32")
    scores = vectors @ encoder.embed(encoder.tokenize([query], "query"), "query", 99, "fp32")[0]
    order = np.argsort(-scores, kind="stable")
    return [(passages[i].id, float(scores[i])) for i in order]


def nearest(encoder, own, query, count):
    """The first ids without `own`."""
    return {passage_id for passage_id, _ in ranked(encoder, query)[:count]} - own


def test_the_second_round_mines_with_the_encoder_of_the_first(stages):
    mining = {"mine.encoder.use": True, "mine.encoder.last_rank": 15}
    stages("first", *ROUND, **mining)
    stages("second", "vectors", "mine", **mining | SECOND)
    queries, qrels = beir.read_queries("data/training"), beir.read_qrels("data/training", "train")
    found = {}
    for name, begin in (("first", "zero_shot"), ("second", "first")):
        encoder = checkpoint.load(f"data/encoders/{begin}")
        found[name] = beir.read_pairs(f"data/negatives/{name}")
        for pair in found[name]:
            relevant = set(qrels[pair.query_id])
            expected = nearest(encoder, relevant, queries[pair.query_id].text, 15)
            assert set(pair.negative_ids) == expected
    assert found["first"] != found["second"]


def test_a_teachers_scores_are_written_for_every_pair(stages):
    """Without mining: the pairs stay as they are, beside them is what the file says."""
    pairs = beir.read_pairs("data/training")
    given = {}
    for number, pair in enumerate(pairs):
        given.setdefault(pair.query_id, {})[pair.passage_id] = number / 4
    rows = [
        {"query_id": q, "passage_ids": [*scores, "d59"], "scores": [*scores.values(), -1.0]}
        for q, scores in given.items()
    ]
    Path("given.jsonl").write_bytes(jsonl(*rows))
    teacher = {"teacher.scores": "file:given.jsonl", "train.teacher_share": 0.5}
    stages("first", "vectors", "mine", **teacher)
    written = {}
    for _, query_id, passage_ids, scores in read_scores(Path("data/negatives/first/teacher.jsonl")):
        written[query_id] = dict(zip(passage_ids, scores, strict=True))
    assert written == {q: scores | {"d59": -1.0} for q, scores in given.items()}
    assert beir.read_pairs("data/negatives/first") == pairs
    stages("first", "train", **teacher)
    assert read_json("metrics/train.json")["steps"] == 10


def min_max(ranked):
    """Scores with the highest 1 and the lowest 0."""
    lowest, highest = min(ranked.values()), max(ranked.values())
    return {p: (score - lowest) / (highest - lowest) for p, score in ranked.items()}


def test_fusion_teaches_by_bm25_and_the_encoder(stages, tmp_path):
    """Its scores by the definition, from Lucene's run and a ranking by numpy."""
    depth = 7
    teacher = {"teacher.scores": "fusion", "teacher.depth": depth, "train.teacher_share": 0.5}
    stages("first", *ROUND, **teacher)
    path = Path("data/negatives/first/teacher.jsonl")
    written = {q: dict(zip(ids, s, strict=True)) for _, q, ids, s in read_scores(path)}

    passages, queries = beir.read_passages("data/training"), beir.read_queries("data/training")
    lucene.build_index(((p.id, contents(p)) for p in passages), tmp_path / "bm25")
    sparse = lucene.search(tmp_path / "bm25", list(queries.values()), 0.9, 0.4, depth, threads=1)
    encoder = checkpoint.load("data/encoders/zero_shot")
    for pair in beir.read_pairs("data/training"):
        dense = ranked(encoder, queries[pair.query_id].text)[:depth]
        parts = [min_max(sparse[pair.query_id]), min_max(dict(dense))]
        mean = {p: sum(part.get(p, 0) for part in parts) / 2 for p in parts[0] | parts[1]}
        scores = written[pair.query_id]
        assert scores[pair.passage_id] == pytest.approx(mean.get(pair.passage_id, 0), abs=1e-5)
        best = sorted(mean.values(), reverse=True)[:depth]
        assert sorted(scores.values(), reverse=True)[:depth] == pytest.approx(best, abs=1e-5)
    assert not list(Path(".scratch/mine").iterdir())  # BM25's index is gone


def test_without_mining_and_teacher_the_pairs_file_is_copied(stages):
    stages("first", "vectors", "mine")
    assert files("data/negatives/first") == {"pairs.jsonl": sha256("data/training/pairs.jsonl")}
    assert [path.name for path in Path("data/vectors/first").iterdir()] == ["unused"]


def test_a_failing_teacher_leaves_no_folder(stages):
    rows = [
        {"query_id": pair.query_id, "passage_id": pair.passage_id, "score": 1.0}
        for pair in beir.read_pairs("data/training")
    ]
    Path("given.jsonl").write_bytes(jsonl(*rows))
    teacher = {"teacher.scores": "file:given.jsonl", "train.teacher_share": 0.5}
    with pytest.raises(InputError, match="gives every passage the same score"):
        stages("first", "vectors", "mine", **teacher)
    assert not list(Path("data").glob("negatives/*"))


def test_each_source_is_mined_with_its_prompt(stages):
    """Of two sources: one whose prompt says nothing, one whose prompt is of another topic."""
    prompts = ["", "skin eye ear of the "]
    sources = [
        Query(q.id, q.text, source=1 + number % 2)
        for number, q in enumerate(beir.read_queries("data/training").values())
    ]
    beir.write_queries(Path("data/training"), sources)
    mining = {"mine.encoder.use": True, "mine.encoder.last_rank": 5}
    mining |= {"data.train": "medline + medline-2021"}
    mined = []
    for given in (None, prompts):
        stages("first", "vectors", "mine", **mining | {"data.prompts": given})
        mined.append(beir.read_pairs("data/negatives/first"))
    encoder, queries = checkpoint.load("data/encoders/zero_shot"), {q.id: q for q in sources}
    qrels = beir.read_qrels("data/training", "train")
    changed = {1: [], 2: []}
    for plain, prompted in zip(*mined, strict=True):
        query = queries[plain.query_id]
        text = prompts[query.source - 1] + query.text
        expected = nearest(encoder, set(qrels[query.id]), text, 5)
        assert set(prompted.negative_ids) == expected
        changed[query.source].append(set(plain.negative_ids) != expected)
    assert not any(changed[1])
    assert any(changed[2])


def test_a_trained_query_encoder_has_the_vectors_of_zero_shot(stages, monkeypatch):
    """They are copied: what encodes is taken away. (In int8: tests/pipeline/test_rounds.py.)"""
    options = {"train.roles": "query"}
    stages("zero_shot", "encode", **options)
    stages("first", *ROUND, **options)
    stages("second", *ROUND, **options)
    zero_shot, dense = (checkpoint.load(f"data/encoders/{s}") for s in ("zero_shot", "dense"))
    trained = dict(dense.query.named_parameters())
    assert any((value != trained[name]).any() for name, value in zero_shot.query.named_parameters())
    for name, value in zero_shot.passage.named_parameters():
        assert (value == dict(dense.passage.named_parameters())[name]).all()

    def encodes(*args):
        raise AssertionError("the passages are encoded again")

    monkeypatch.setattr(encoding, "_encode_windows", encodes)
    stages("dense", "encode", **options)
    assert files("data/embeddings/dense") == files("data/embeddings/zero_shot")


def test_a_second_round_that_is_not_used_is_not_read(stages):
    """Its changes are checked if it runs."""
    changes = {"second.mine": {"encoder": None}, "second.train": {"lr": "fast"}}
    stages("first", *ROUND, **changes)
    stages("second", *ROUND, **changes)
    assert files("data/encoders/dense") == files("data/encoders/first")
