"""The stage mine: what it writes of teachers, and without any."""

from pathlib import Path

import pytest
from helpers import contents, jsonl
from round_helpers import ROUND, files, nearest, ranked

from dpr.base.errors import InputError
from dpr.base.files import read_json, sha256
from dpr.bm25 import lucene
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.scores import read_scores
from dpr.records.types import Query


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


def from_lowest(ranked, lowest=None):
    """Scores with the highest 1 and `lowest` 0; None: a mean step below the last."""
    highest, last = max(ranked.values()), min(ranked.values())
    if lowest is None:
        lowest = last - (highest - last) / (len(ranked) - 1)
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
        parts = [from_lowest(sparse[pair.query_id], 0), from_lowest(dict(dense))]
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
        Query(q.id, q.text, mixture_source=1 + number % 2)
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
        text = prompts[query.mixture_source - 1] + query.text
        expected = nearest(encoder, set(qrels[query.id]), text, 5)
        assert set(prompted.negative_ids) == expected
        changed[query.mixture_source].append(set(plain.negative_ids) != expected)
    assert not any(changed[1])
    assert any(changed[2])
