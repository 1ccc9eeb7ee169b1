"""Mined hard negatives: ranks, margins, and passages that are never negatives."""

import importlib
import itertools
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import PARAMS, contents, write_params

from dpr.base.files import read_json
from dpr.bm25 import lucene
from dpr.encoders import checkpoint
from dpr.mining.mine import Miner, candidates, never_negative
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Pair, Passage, Query
from dpr.settings import MineRanker, load_settings
from stages import rounds


def source(first_rank=1, last_rank=100, margin=None, relative_margin=None):
    ranks = {"first_rank": first_rank, "last_rank": last_rank}
    return MineRanker(use=True, margin=margin, relative_margin=relative_margin, **ranks)


def add_negatives(pairs, queries, never, rankers, per_pair, seed):
    options = PARAMS.teacher
    return Miner(pairs, queries, never, rankers, None, options).run(per_pair, seed)


RANKING = {"a": 9.0, "b": 8.0, "c": 7.0, "d": 7.0, "e": 1.0}


@pytest.mark.parametrize(
    ("own", "chosen", "expected"),
    [
        ("a", source(), "abcde"),
        ("a", source(first_rank=2, last_rank=4), "bcd"),
        ("a", source(last_rank=4, margin=1.5), "cd"),
        ("b", source(margin=1.0), "cde"),  # exactly the margin below is enough
        ("b", source(margin=0.0), "bcde"),
        ("x", source(), "abcde"),
        ("x", source(margin=0.0), ""),  # unscored: nothing is known to be below it
        ("x", source(relative_margin=0.0), ""),
        ("a", source(relative_margin=0.2), "cde"),  # 80 % of 9.0 is 7.2
        ("a", source(margin=8.0, relative_margin=0.2), "e"),
    ],
)
def test_candidates_by_rank_and_margin(own, chosen, expected):
    assert candidates(RANKING, own, chosen) == list(expected)


def test_what_is_relevant_to_the_topic_is_never_a_negative(tmp_path):
    queries = {q.id: q for q in (Query("1", "Heart"), Query("2", "heart "), Query("3", "lung"))}
    qrels = {"1": {"a": 1, "b": 0}, "2": {"c": 2}, "3": {"d": 1}}
    texts = {"a": "x", "b": "y", "c": "z", "d": "w", "e": "X", "f": "v", "p": "u", "g": "v "}
    beir.write_passages(tmp_path, [Passage(key, "", text) for key, text in texts.items()])
    duplicates_of = Corpus(tmp_path, ". ").duplicates()
    assert duplicates_of == {"a": {"a", "e"}, "e": {"a", "e"}, "f": {"f", "g"}, "g": {"f", "g"}}
    never = never_negative([Pair("1", "p"), Pair("3", "d")], queries, qrels, duplicates_of)
    assert never == {"1": {"a", "p", "c", "e"}, "3": {"d"}}


def test_a_query_that_is_a_passage_is_not_its_own_negative():
    queries = {q.id: q for q in (Query("a", "Heart", True), Query("b", "lung", True))}
    pairs = [Pair("a", "d"), Pair("b", "c")]
    never = never_negative(pairs, queries, {}, {})
    assert never == {"a": {"a", "d"}, "b": {"b", "c"}}
    rankers = [(lambda block, positives: {"a": RANKING, "b": RANKING}, source())]
    mined = add_negatives(pairs, queries, never, rankers, per_pair=9, seed=0)
    assert [set(pair.negative_ids) for pair in mined] == [set("bce"), set("ade")]


def test_mined_negatives_follow_those_of_the_pair():
    queries = {q: Query(q, q) for q in ("1", "2")}
    pairs = [Pair("1", "a", ("z", "c")), Pair("2", "b"), Pair("1", "d")]
    rankers = [(lambda block, positives: {"1": RANKING}, source())]
    never = {"1": {"a", "d"}, "2": {"b"}}
    mined = add_negatives(pairs, queries, never, rankers, per_pair=9, seed=0)
    assert [set(pair.negative_ids) for pair in mined] == [{"z", "c", "b", "e"}, set(), set("bce")]
    assert mined[0].negative_ids[:2] == ("z", "c")

    def drawn(seed):
        return add_negatives(pairs, queries, never, rankers, 1, seed)[2].negative_ids

    by_seed = [drawn(seed) for seed in range(20)]
    assert set(by_seed) == {("b",), ("c",), ("e",)}
    assert by_seed == [drawn(seed) for seed in range(20)]
    assert add_negatives(pairs, queries, never, [], 9, 0) == pairs


@pytest.fixture
def mine(tmp_path, make_encoder, collection, monkeypatch):
    """mine(bm25={...}, encoder={...}) -> the pairs of the stage, of the tiny collection."""
    folder = tmp_path / "workspace"
    shutil.copytree(collection, folder / "data/training")
    checkpoint.save(make_encoder(), folder / "data/encoders/zero_shot")
    monkeypatch.chdir(folder)

    def run(per_pair=1000, **sources):
        changes = {"encode.precision": "fp32", "mine.per_pair": per_pair}
        for name in ("bm25", "encoder"):
            chosen = source().model_dump() | {"use": False} | sources.get(name, {})
            changes |= {f"mine.{name}.{key}": value for key, value in chosen.items()}
        rounds.write_plans(load_settings(write_params(Path("params.yaml"), changes)))
        for stage in ("vectors", "mine"):
            importlib.import_module(f"stages.{stage}").main("first")
        return beir.read_pairs("data/negatives/first")

    return run


def positives_of(pairs):
    positives = {pair.query_id: set() for pair in pairs}
    for pair in pairs:
        positives[pair.query_id].add(pair.passage_id)
    return positives


def test_without_a_source_the_pairs_are_as_they_were(mine):
    assert mine() == beir.read_pairs("data/training")
    expected = {"pairs": 18, "with_negatives": 0, "negatives_per_pair": 0}
    assert read_json("metrics/mine.json") == expected


def test_the_encoder_mines_what_brute_force_ranks_there(mine, make_encoder):
    """Ranks 3 to 20, at least .01 below the own passage, nothing judged relevant."""
    chosen = {"use": True, "first_rank": 3, "last_rank": 20, "margin": 0.01}
    mined = mine(encoder=chosen)
    encoder = make_encoder()
    passages = list(beir.read_passages("data/training"))
    queries, qrels = beir.read_queries("data/training"), beir.read_qrels("data/training", "train")
    texts = [contents(passage) for passage in passages]
    vectors = encoder.embed(encoder.tokenize(texts, "passage"), "passage", 999, "fp32")
    count = 0
    for pair in mined:
        tokens = encoder.tokenize([queries[pair.query_id].text], "query")
        scores = vectors @ encoder.embed(tokens, "query", 99, "fp32")[0]
        ranked = np.argsort(-scores, kind="stable")[2:20]
        own = scores[[p.id for p in passages].index(pair.passage_id)]
        expected = {
            passages[i].id
            for i in ranked
            if scores[i] <= own - 0.01 and passages[i].id not in qrels[pair.query_id]
        }
        assert set(pair.negative_ids) == expected
        count += len(expected)
    assert count > 20
    assert max(len(pair.negative_ids) for pair in mine(per_pair=2, encoder=chosen)) == 2


def test_bm25_mines_at_its_own_ranks_and_parameters(mine, tmp_path):
    """Compared with Lucene, whose scores tests/bm25/test_lucene.py computes by the formula."""
    beir.write_qrels(Path("data/training"), "train", [])
    passages = list(beir.read_passages("data/training"))
    queries = beir.read_queries("data/training")
    lucene.build_index(((p.id, contents(p)) for p in passages), tmp_path / "bm25")
    ranks = {"use": True, "first_rank": 2, "last_rank": 4, "margin": 0.02}
    negatives = []
    for k1, b in ((0.9, 0.4), (3.0, 0.0)):  # without b the passages of a word have one score
        mined = mine(bm25=ranks | {"k1": k1, "b": b})
        positives = positives_of(mined)
        run = lucene.search(tmp_path / "bm25", list(queries.values()), k1, b, 100, threads=1)
        for pair in mined:
            scores = run[pair.query_id]
            ranked = sorted(scores, key=lambda p: (-scores[p], p))[:4]
            own = scores[pair.passage_id] if pair.passage_id in ranked else -math.inf
            expected = {p for p in ranked[1:] if scores[p] <= own - 0.02}
            assert set(pair.negative_ids) == expected - positives[pair.query_id]
        negatives.append([pair.negative_ids for pair in mined])
    assert any(itertools.chain(*negatives))
    assert negatives[0] != negatives[1]
