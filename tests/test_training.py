"""What a training is made of: loss, schedule, pairs and validation."""

import itertools

import numpy as np
import pytest
import torch
from helpers import settings
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses

from dpr import checkpoint
from dpr.collections import beir
from dpr.collections.records import Pair
from dpr.errors import InputError
from dpr.similarity import SIMILARITIES
from dpr.training import schedule
from dpr.training.loss import in_batch_loss
from dpr.training.pairs import PairSet
from dpr.training.validation import Validator, draw_pool, sample_topics

# --- loss


def brute_force_loss(queries, passages, not_negative, name, temperature):
    """Each query's softmax written out, in float64."""
    total = 0.0
    for i, query in enumerate(queries):
        terms = {}
        for j, passage in enumerate(passages):
            if i == j or not not_negative[i, j]:
                score = -np.sum((query - passage) ** 2) if name == "l2" else query @ passage
                terms[j] = np.exp(score / temperature)
        total -= np.log(terms[i] / sum(terms.values()))
    return total / len(queries)


@pytest.mark.parametrize("name", SIMILARITIES)
def test_loss_equals_the_softmax_written_out(name):
    rng = np.random.default_rng(0)
    queries, passages = rng.normal(size=(6, 8)) / 3, rng.normal(size=(6, 8)) / 3
    not_negative = rng.random((6, 6)) < 0.3
    loss = in_batch_loss(
        torch.tensor(queries),
        torch.tensor(passages),
        torch.tensor(not_negative),
        SIMILARITIES[name],
        0.5,
    )
    expected = brute_force_loss(queries, passages, not_negative, name, 0.5)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_hard_negatives_are_negatives_of_every_query():
    rng = np.random.default_rng(0)
    queries, passages = rng.normal(size=(3, 8)), rng.normal(size=(5, 8))
    not_negative = np.zeros((3, 5), dtype=bool)
    not_negative[1, 4] = True
    loss = in_batch_loss(
        torch.tensor(queries),
        torch.tensor(passages),
        torch.tensor(not_negative),
        SIMILARITIES["dot"],
        1.0,
    )
    expected = brute_force_loss(queries, passages, not_negative, "dot", 1.0)
    assert loss.item() == pytest.approx(expected, rel=1e-9)


def test_large_scores_do_not_overflow():
    vectors = torch.eye(3) * 1e3
    loss = in_batch_loss(
        vectors, vectors, torch.zeros(3, 3, dtype=torch.bool), SIMILARITIES["dot"], 1.0
    )
    assert loss.item() == 0


def test_loss_equals_that_of_sentence_transformers(make_encoder, tmp_path):
    queries = ["heart", "lung", "eye", "ear"]
    passages = ["a study of the heart", "the lung", "the eye and more", "hearing"]
    encoder = make_encoder()
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu").eval()
    reference = losses.MultipleNegativesRankingLoss(theirs, scale=20.0)
    expected = reference([theirs.tokenize(queries), theirs.tokenize(passages)], None)
    loss = in_batch_loss(
        encoder(encoder.tokenize(queries, "query"), "query"),
        encoder(encoder.tokenize(passages, "passage"), "passage"),
        torch.eye(4, dtype=torch.bool),
        encoder.similarity,
        temperature=1 / 20,
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


# --- schedule


def test_schedule_by_hand():
    rates = [schedule.linear(step, 4, 14, 0.1) for step in range(14)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[9] == pytest.approx(1 - 0.9 * 5 / 9)
    assert rates[13] == pytest.approx(0.1)
    assert all(a > b for a, b in itertools.pairwise(rates[4:]))


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (0, 5), (5, 5), (9, 5), (1, 2)])
def test_the_rate_is_never_zero(warmup, steps):
    rates = [schedule.linear(step, warmup, steps, 0.05) for step in range(steps)]
    assert all(0.05 <= rate <= 1 for rate in rates)


def test_warmup_in_steps_or_as_a_ratio():
    assert schedule.warmup_steps(7, 0.5, 100) == 7
    assert schedule.warmup_steps(0, 0.5, 100) == 0
    assert schedule.warmup_steps(None, 0.1, 160) == 16


# --- pairs


def test_passages_relevant_to_the_same_topic_are_no_negatives(pairs):
    # q0 has d00, d12, d24 (and d36, d48 with grade 1); q1 has d01, d13, d25.
    batch = pairs.batch([Pair("q0", "d00"), Pair("q0", "d12"), Pair("q1", "d01")])
    expected = [[True, True, False], [True, True, False], [False, False, True]]
    assert batch.not_negative.tolist() == expected


def test_a_batch_holds_what_it_says(pairs, make_encoder, collection):
    encoder = make_encoder()
    contents = {p.id: p.contents(". ") for p in beir.read_corpus(collection)}
    batch = pairs.batch([Pair("q1", "d13")])
    np.testing.assert_array_equal(
        batch.passages[0], encoder.tokenize([contents["d13"]], "passage")[0]
    )
    np.testing.assert_array_equal(batch.queries[0], encoder.tokenize(["lung"], "query")[0])


def test_an_epoch_has_each_pair_once_and_full_batches_only(pairs):
    assert len(pairs.pairs) == 18
    stream = pairs.batches(4, seed=1)
    seen = [tuple(p.tolist()) for _ in range(4) for p in next(stream).passages]
    assert len(seen) == 16
    by_passage = {tuple(tokens.tolist()) for tokens in pairs.passages.values()}
    assert len(set(seen)) == min(16, len(by_passage))
    first = [q.tolist() for q in next(pairs.batches(4, seed=1)).queries]
    assert first == [q.tolist() for q in next(pairs.batches(4, seed=1)).queries]
    assert first != [q.tolist() for q in next(pairs.batches(4, seed=2)).queries]


def test_hard_negatives_stand_behind_the_positives(collection, make_encoder):
    beir.write_pairs(
        collection, [Pair("q0", "d00", ("d01", "d12")), Pair("q1", "d01"), Pair("q2", "d02")]
    )
    read = {
        wanted: PairSet.read(collection, make_encoder(), ". ", settings(hard_negatives=wanted))
        for wanted in (True, False)
    }
    batch = read[True].batch(read[True].pairs)
    assert len(batch.queries) == 3
    ids = ["d00", "d01", "d02", "d01", "d12"]
    for tokens, passage_id in zip(batch.passages, ids, strict=True):
        np.testing.assert_array_equal(tokens, read[True].passages[passage_id])
    assert batch.not_negative.tolist() == [
        [True, False, False, False, True],  # d12 is judged relevant to q0, whatever the triple says
        [False, True, False, True, False],
        [False, False, True, False, False],
    ]
    assert len(read[False].batch(read[False].pairs).passages) == 3


def test_bad_pairs(pairs, collection, make_encoder):
    with pytest.raises(InputError, match=r"train\.batch_size is 64, .* only 18 training pairs"):
        next(pairs.batches(64, seed=0))
    beir.write_pairs(collection, [Pair("q0", "d00"), Pair("q0", "d99")])
    with pytest.raises(
        InputError, match=r"pairs\.jsonl:2: query 'q0' or one of the passages \['d99'\]"
    ):
        PairSet.read(collection, make_encoder(), ". ", settings(passage_max_length=None))


# --- validation


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


def test_validation_over_the_whole_collection_by_hand(make_encoder, collection):
    encoder = make_encoder()
    validator = Validator(collection, encoder, ". ", settings(valid_passages=60), seed=0)
    result = validator.validate(encoder, step=7)
    passages = list(beir.read_corpus(collection))
    vectors = encoder.embed(
        encoder.tokenize([p.contents(". ") for p in passages], "passage"), "passage", 999, "fp32"
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
    assert result.ndcg == pytest.approx(np.mean(gains), abs=1e-6)
    assert result.step == 7
