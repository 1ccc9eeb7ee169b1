"""Validation while training, against nDCG@10 written out."""

import random

import numpy as np
import pytest
import torch
from helpers import contents, settings

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.pool import draw_pool, sample_by_source, sample_topics
from dpr.records.types import Judgment, Passage, Query
from dpr.training.validation import RankedPassages, Validator


def test_the_pool_holds_relevant_passages_of_each_topic():
    qrels = {"1": {"a": 1, "b": 2, "c": 1}, "2": {"d": 1, "e": 0}}
    ids = [*"abcdefghijklmnop"]
    pool = draw_pool(qrels, ids, 8, seed=0)
    assert pool == sorted(set(pool))
    assert len(pool) == 8
    assert {"b", "d"} <= set(pool)  # the best grade of each topic comes first
    assert draw_pool(qrels, ids, 8, seed=0) == pool
    assert draw_pool(qrels, ids, 100, seed=0) == ids


def test_no_more_topics_than_half_the_pool_holds():
    qrels = {str(i): {f"d{i}": i % 4} for i in range(40)}  # every fourth has nothing relevant
    drawn = sample_topics(qrels, 10, seed=0)
    assert len(drawn) == 10
    assert drawn == sample_topics(qrels, 10, seed=0) != sample_topics(qrels, 10, seed=1)
    assert all(int(query_id) % 4 for query_id in drawn)
    assert len(sample_topics(qrels, 100, seed=0)) == 30


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([20, 6_980], 250, [20, 230]),  # what the small one lacks goes to the other
        ([6_980, 1, 6_980], 250, [124, 1, 125]),
        ([100, 100], 50, [25, 25]),
        ([3, 4], 50, [3, 4]),
        ([7, 5, 6], 3, [1, 1, 1]),
    ],
)
def test_each_source_has_as_many_topics(sizes, count, expected):
    source_of = {f"{s}-{i}": s for s, size in enumerate(sizes, 1) for i in range(size)}
    qrels = {query_id: {f"d{query_id}": 1} for query_id in source_of}
    drawn = sample_by_source(qrels | {"none": {"d": 0}}, source_of, count)
    assert [list(map(source_of.get, drawn)).count(s + 1) for s in range(len(sizes))] == expected
    assert drawn == sample_by_source(qrels, source_of, count)
    assert drawn != sample_by_source(qrels, source_of, count, seed=1) or count >= sum(sizes)


def test_a_single_source_is_sampled_as_if_there_were_no_sources():
    qrels = {str(i): {f"d{i}": i % 4} for i in range(40)}
    for count in (1, 10, 30, 100):
        found = sample_by_source(qrels, dict.fromkeys(qrels, 1), count)
        assert list(found.items()) == list(sample_topics(qrels, count).items())
    # Drawn by seed 42, written out: validations of before and after compare.
    useful = [str(i) for i in range(40) if i % 4]
    assert [*sample_by_source(qrels, dict.fromkeys(qrels, 1), 5)] == sorted(
        random.Random(42).sample(useful, 5)
    )


def mixture(folder, sizes):
    """A training folder: each topic of a source has two relevant passages; and 50 that are not."""
    names = {f"{s}-{i}": s for s, size in enumerate(sizes, 1) for i in range(size)}
    relevant = [(name, f"{name}{n}") for name in names for n in "ab"]
    ids = [*(p for _, p in relevant), *(f"z{i}" for i in range(50))]
    beir.write_passages(folder, [Passage(p, "", p) for p in ids])
    beir.write_queries(folder, [Query(name, name, False, s) for name, s in names.items()])
    beir.write_qrels(folder, "valid", [Judgment(q, p, 1) for q, p in relevant])
    return Corpus(folder, ". ")


def test_no_source_of_a_mixture_is_forgotten(make_encoder, tmp_path):
    """Two topics and 300; each topic that is drawn has a relevant passage in the pool."""
    corpus = mixture(tmp_path, [2, 300])
    ranked = RankedPassages(corpus, 20, None)
    assert [query_id[0] for query_id in ranked.qrels] == ["1"] * 2 + ["2"] * 8
    assert all(ranked.qrels.values())
    assert len(ranked.pool) == 20
    encoder = make_encoder()
    validation = Validator(corpus, encoder, settings(valid_passages=20)).validate(encoder, 0)
    by_source = [validation.measured[f"nDCG@10 of {s}"] for s in (1, 2)]
    assert validation.score == pytest.approx(np.mean(by_source))


def test_a_pool_without_room_for_each_source_is_refused(tmp_path):
    corpus = mixture(tmp_path, [5, 5, 5])
    with pytest.raises(InputError, match=r"train\.valid_passages: 5 are too few for 3 sources"):
        RankedPassages(corpus, 5, None)
    assert len(RankedPassages(corpus, 6, None).qrels) == 3


def test_the_pool_is_the_same_whatever_is_drawn_elsewhere(make_encoder, collection):
    """Experiments with other seeds are compared by it."""
    pools = []
    for seed in (1, 2):
        random.seed(seed)
        torch.manual_seed(seed)
        chosen = settings(valid_passages=20)
        validator = Validator(Corpus(collection, ". "), make_encoder(), chosen)
        pools.append((validator.ranked.pool, validator.query_ids))
    assert pools[0] == pools[1]
    assert len(pools[0][0]) == 20


def test_validation_over_the_whole_collection_by_hand(make_encoder, collection):
    encoder = make_encoder()
    validator = Validator(Corpus(collection, ". "), encoder, settings(valid_passages=60))
    result = validator.validate(encoder, step=7)
    passages = list(beir.read_passages(collection))
    vectors = encoder.embed(
        encoder.tokenize([contents(p) for p in passages], "passage"), "passage", 999, "fp32"
    )
    queries, qrels = beir.read_queries(collection), beir.read_qrels(collection, "valid")
    gains = []
    for query_id, grades in qrels.items():
        query = encoder.embed(
            encoder.tokenize([queries[query_id].text], "query"), "query", 99, "fp32"
        )
        ranked = np.argsort(-(vectors @ query[0]))[:10]
        discounts = 1 / np.log2(np.arange(2, 12))
        gain = [grades.get(passages[i].id, 0) for i in ranked]
        ideal = sorted(grades.values(), reverse=True)[:10]
        gains.append(np.dot(gain, discounts) / np.dot(ideal, discounts[: len(ideal)]))
    assert result.score == pytest.approx(np.mean(gains), abs=1e-6)
    assert result.step == 7


def test_the_validation_loss_is_that_of_its_pairs(make_encoder, collection):
    """Every pair of best grade in one batch: the softmax over its passages written out."""
    encoder = make_encoder()
    chosen = settings(valid_passages=60, batch_size=50, temperature=0.1)
    validator = Validator(Corpus(collection, ". "), encoder, chosen)
    (batch,) = validator.batches
    qrels = beir.read_qrels(collection, "valid")
    best = {(q, p) for q, grades in qrels.items() for p, grade in grades.items() if grade == 2}
    of = lambda pair: (batch.query_ids[pair[0]], batch.passage_ids[pair[1]])  # noqa: E731
    assert {of(pair) for pair in batch.pairs.tolist()} == best
    texts = {p.id: contents(p) for p in beir.read_passages(collection)}
    queries = beir.read_queries(collection)
    embed = lambda text, role: encoder.embed(encoder.tokenize([text], role), role, 99, "fp32")[0]  # noqa: E731
    losses = []
    for query_id, own in best:
        query = embed(queries[query_id].text, "query")
        terms = {
            p: np.exp(query @ embed(texts[p], "passage") / 0.1)
            for p in batch.passage_ids
            if p == own or p not in qrels[query_id]
        }
        losses.append(-np.log(terms[own] / sum(terms.values())))
    assert validator.validate(encoder, 0).loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_query_that_is_a_passage_does_not_find_itself(make_encoder, tmp_path):
    """Each query is the first of two passages about its word; the second is relevant."""
    words = ["heart", "lung", "liver", "bone"]
    passages = [Passage(f"{word}{n}", "", f"{word} {n}") for word in words for n in (0, 1)]
    beir.write_passages(tmp_path, passages)
    judged = [Judgment(f"{word}0", f"{word}1", 1) for word in words]
    beir.write_qrels(tmp_path, "valid", judged)
    encoder, results = make_encoder(), []
    for own in (False, True):
        beir.write_queries(tmp_path, [Query(f"{word}0", f"{word} 0", own) for word in words])
        validator = Validator(Corpus(tmp_path, ". "), encoder, settings(valid_passages=8))
        results.append(validator.validate(encoder, 0))
    found, dropped = results
    # Its own passage is first, with the very vector of the query: nothing is better than rank 2.
    assert found.score <= 1 / np.log2(3) + 1e-9 < dropped.score
    # The loss is over pairs alone, and no pair's passage is a query here.
    assert dropped.loss == pytest.approx(found.loss)
