"""Validation during training, against measures and losses written out."""

import random
from statistics import fmean

import numpy as np
import pytest
from helpers import contents, settings
from training_helpers import embedded, fixed_passages

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.pool import draw_pool, sample_by_source, sample_topics
from dpr.records.types import Judgment, Passage, Query
from dpr.training import validation
from dpr.training.validation import Validator


def validated(encoder, folder, fixed=None, prompts=None, **changes):
    chosen = settings(**({"valid_passages": None} | changes))
    validator = Validator(Corpus(folder, ". "), encoder, chosen, fixed=fixed, prompts=prompts)
    return validator.validate(encoder, 3)


def ranked(encoder, folder, prompt=""):
    """{query id: the ids of all passages, best first} by numpy."""
    passages = {p.id: contents(p) for p in beir.read_passages(folder)}
    vectors, ids = embedded(encoder, list(passages.values()), "passage"), np.array([*passages])
    topics, queries = beir.read_qrels(folder, "valid"), beir.read_queries(folder)
    of_topics = {q: embedded(encoder, [prompt + queries[q].text], "query")[0] for q in topics}
    return {q: ids[np.argsort(-(vectors @ query))].tolist() for q, query in of_topics.items()}


def ndcg(ranking, grades):
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = [grades.get(passage_id, 0) for passage_id in ranking[:10]]
    ideal = sorted(grades.values(), reverse=True)[:10]
    return np.dot(gains, discounts) / np.dot(ideal, discounts[: len(ideal)])


def reciprocal_rank(ranking, grades):
    """Of the first relevant passage among ten."""
    ranks = [rank for rank, p in enumerate(ranking[:10], 1) if grades.get(p, 0) > 0]
    return 1 / ranks[0] if ranks else 0.0


# --- the pool and its topics


def test_the_pool_holds_relevant_passages_of_each_topic():
    qrels = {"1": {"a": 1, "b": 2, "c": 1}, "2": {"d": 1, "e": 0}}
    ids = [*"abcdefghijklmnop"]
    pool = draw_pool(qrels, ids, 8)
    assert pool == sorted(set(pool))
    assert len(pool) == 8
    assert {"b", "d"} <= set(pool)  # the best grade of each topic comes first
    assert draw_pool(qrels, ids, 8) == pool
    assert draw_pool(qrels, ids, 100) == ids


def test_topics_are_drawn_by_a_seed_of_their_own():
    """Without sources, or with a single one; experiments with different seeds compare."""
    qrels = {str(i): {f"d{i}": i % 4} for i in range(40)}  # every fourth has nothing relevant
    useful = [str(i) for i in range(40) if i % 4]
    assert [*sample_topics(qrels, 5)] == sorted(random.Random(42).sample(useful, 5))
    for count in (1, 10, 30, 100):
        random.seed(count)
        by_source = sample_by_source(qrels, dict.fromkeys(qrels, 1), count)
        assert list(by_source.items()) == list(sample_topics(qrels, count).items())
        assert len(by_source) == min(count, 30) and set(by_source) <= set(useful)


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ([20, 6_980], 250, [20, 230]),  # the large source fills up what the small one lacks
        ([6_980, 1, 6_980], 250, [124, 1, 125]),
        ([100, 100], 50, [25, 25]),
        ([3, 4], 50, [3, 4]),
        ([7, 5, 6], 3, [1, 1, 1]),
    ],
)
def test_each_source_has_as_many_topics(sizes, count, expected, monkeypatch):
    source_of = {f"{s}-{i}": s for s, size in enumerate(sizes, 1) for i in range(size)}
    qrels = {query_id: {f"d{query_id}": 1} for query_id in source_of}
    drawn = sample_by_source(qrels | {"none": {"d": 0}}, source_of, count)
    assert [list(map(source_of.get, drawn)).count(s + 1) for s in range(len(sizes))] == expected
    assert drawn == sample_by_source(qrels, source_of, count)
    monkeypatch.setattr("dpr.records.pool.SEED", 1)
    assert drawn != sample_by_source(qrels, source_of, count) or count >= sum(sizes)


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
    encoder = make_encoder()
    validator = Validator(corpus, encoder, settings(valid_passages=20))
    assert [query_id[0] for query_id in validator.qrels] == ["1"] * 2 + ["2"] * 8
    assert all(validator.qrels.values())
    assert len(validator.pool) == 20
    result = validator.validate(encoder, 0)
    by_source = [result.measured[f"nDCG@10 of {s}"] for s in (1, 2)]
    assert result.score == pytest.approx(np.mean(by_source))


def test_a_pool_too_small_for_the_sources_is_refused(make_encoder, tmp_path):
    corpus, encoder = mixture(tmp_path, [5, 5, 5]), make_encoder()
    with pytest.raises(InputError, match=r"train\.valid_passages: 5 are too few for 3 sources"):
        Validator(corpus, encoder, settings(valid_passages=5))
    assert len(Validator(corpus, encoder, settings(valid_passages=6)).qrels) == 3


# --- measures and loss


@pytest.mark.parametrize("window", [8192, 60, 7])
@pytest.mark.parametrize("fixed", [False, True])
def test_all_passages_are_ranked_in_windows_as_at_once(
    make_encoder, collection, monkeypatch, window, fixed
):
    encoder = make_encoder()
    vectors = fixed_passages(encoder, collection) if fixed else None
    chosen = {"batch_size": 50, "valid_measure": "RR@10"}
    whole = validated(encoder, collection, valid_passages=60, **chosen)
    monkeypatch.setattr(validation, "WINDOW", window)
    result = validated(encoder, collection, vectors, **chosen)
    qrels, order = beir.read_qrels(collection, "valid"), ranked(encoder, collection)
    expected = {
        "nDCG@10": fmean(ndcg(order[q], qrels[q]) for q in qrels),
        "RR@10": fmean(reciprocal_rank(order[q], qrels[q]) for q in qrels),
    }
    assert result.measured == pytest.approx(expected, abs=1e-6)
    assert whole.measured == pytest.approx(expected, abs=1e-6)
    assert 0 < result.score == result.measured["RR@10"] != result.measured["nDCG@10"]
    assert result.loss == pytest.approx(whole.loss, rel=1e-5)
    assert result.step == 3


def test_windows_keep_only_the_best_passages_and_the_scores_of_pairs(
    make_encoder, collection, monkeypatch
):
    """A view of the scores would keep the whole window in memory."""
    encoder, runs, columns = make_encoder(), [], []
    monkeypatch.setattr(validation, "VALIDATION_DEPTH", 12)
    monkeypatch.setattr(validation, "WINDOW", 7)
    measure, loss = validation.measures.by_topic, Validator._loss

    def by_topic(qrels, run, names):
        runs.append(run)
        return measure(qrels, run, names)

    def loss_of(validator, scores, targets):
        columns.extend(scores.values())
        return loss(validator, scores, targets)

    monkeypatch.setattr(validation.measures, "by_topic", by_topic)
    monkeypatch.setattr(Validator, "_loss", loss_of)
    validated(encoder, collection)
    order = ranked(encoder, collection)
    assert {q: [*scores] for q, scores in runs[0].items()} == {q: order[q][:12] for q in order}
    column = 3 * 4  # bytes: a float32 for each of three topics
    assert {scores.untyped_storage().nbytes() for scores in columns} == {column}


def test_a_pool_of_fixed_vectors_ranks_what_the_texts_do(make_encoder, collection, monkeypatch):
    encoder = make_encoder()
    of_texts = validated(encoder, collection, valid_passages=20)
    monkeypatch.setattr(validation, "WINDOW", 7)
    fixed = fixed_passages(encoder, collection)
    of_vectors = validated(encoder, collection, fixed, valid_passages=20)
    assert of_vectors.score == pytest.approx(of_texts.score, abs=1e-6)
    assert of_vectors.loss == pytest.approx(of_texts.loss, rel=1e-5)
    assert of_vectors.score > validated(encoder, collection).score  # fewer passages, easier


def test_the_validation_loss_is_that_of_its_pairs(make_encoder, collection):
    """Every pair of best grade in one batch: the softmax over its passages written out."""
    encoder = make_encoder()
    chosen = settings(valid_passages=60, batch_size=50, temperature=0.1)
    validator = Validator(Corpus(collection, ". "), encoder, chosen)
    (batch,) = validator.batches
    qrels = beir.read_qrels(collection, "valid")
    best = {(q, p) for q, grades in qrels.items() for p, grade in grades.items() if grade == 2}
    pairs = batch.pairs.tolist()
    assert {(batch.query_ids[row], batch.passage_ids[column]) for row, column in pairs} == best
    texts = {p.id: contents(p) for p in beir.read_passages(collection)}
    queries = beir.read_queries(collection)
    vectors = {p: embedded(encoder, [texts[p]], "passage")[0] for p in batch.passage_ids}
    losses = []
    for query_id, own in best:
        query = embedded(encoder, [queries[query_id].text], "query")[0]
        terms = {
            p: np.exp(query @ vectors[p] / 0.1)
            for p in batch.passage_ids
            if p == own or p not in qrels[query_id]
        }
        losses.append(-np.log(terms[own] / sum(terms.values())))
    assert validator.validate(encoder, 0).loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_a_query_that_is_a_passage_does_not_find_itself(make_encoder, tmp_path):
    """Each query is the first of two passages about its word; the second is relevant."""
    words = ["heart", "lung", "liver", "bone"]
    passages = [Passage(f"{word}{n}", "", f"{word} {word} {n}") for word in words for n in (0, 1)]
    beir.write_passages(tmp_path, passages)
    beir.write_qrels(tmp_path, "valid", [Judgment(f"{word}0", f"{word}1", 1) for word in words])
    encoder, results = make_encoder(), []
    for own in (False, True):
        beir.write_queries(tmp_path, [Query(f"{word}0", f"{word} {word} 0", own) for word in words])
        results.append(validated(encoder, tmp_path, valid_passages=8))
    present, dropped = results
    # Its own passage is first, with the very vector of the query: nothing is better than rank 2.
    assert present.score <= 1 / np.log2(3) + 1e-9 < dropped.score
    # The loss is over pairs alone, and no pair's passage is a query here.
    assert dropped.loss == pytest.approx(present.loss)


def test_the_chosen_measure_chooses_the_best_step(make_encoder, make_trainer, collection):
    """Each step's encoder ranked by numpy; the first of the best is kept."""
    orders, encoder = [], make_encoder()

    def validate(encoder, step):
        encoder.eval()
        orders.append(ranked(encoder, collection))
        return validator.validate(encoder, step)

    chosen = {"valid_measure": "RR@10", "max_steps": 6, "eval_every": 1, "lr": 5e-3}
    every = settings(valid_passages=None, **chosen)
    validator = Validator(Corpus(collection, ". "), encoder, every)
    history = make_trainer(validate, encoder, patience=None, **chosen).run()
    qrels = beir.read_qrels(collection, "valid")
    scores = [fmean(reciprocal_rank(order[q], qrels[q]) for q in qrels) for order in orders]
    assert [v.score for v in history.validations] == pytest.approx(scores, abs=1e-6)
    assert history.best.step == int(np.argmax(scores))
    assert [v.measured["nDCG@10"] for v in history.validations] != pytest.approx(scores)


def test_a_mixture_is_the_mean_of_its_sources(make_encoder, collection):
    """Source 1 has one topic, source 2 four: each counts the same, and each with its prompt."""
    topics = {"q6": 1, "q7": 2, "q8": 2, "q9": 2, "q10": 2}
    qrels = beir.read_qrels(collection, "valid") | beir.read_qrels(collection, "test")
    judged = [Judgment(q, p, grade) for q in topics for p, grade in qrels[q].items()]
    beir.write_qrels(collection, "valid", judged)
    texts = {query.id: query.text for query in beir.read_queries(collection).values()}
    sourced = [Query(i, text, False, topics.get(i, 1)) for i, text in texts.items()]
    beir.write_queries(collection, sourced)
    encoder, prompts = make_encoder(), ["study of ", "it 3 "]
    result = validated(encoder, collection, prompts=prompts, valid_measure="RR@10")
    by_prompt = [ranked(encoder, collection, prompt) for prompt in prompts]
    means = {}
    for name, measure in (("nDCG@10", ndcg), ("RR@10", reciprocal_rank)):
        values = {q: measure(by_prompt[source - 1][q], qrels[q]) for q, source in topics.items()}
        means[name] = [fmean(values[q] for q in topics if topics[q] == s) for s in (1, 2)]
    expected = {name: fmean(values) for name, values in means.items()}
    expected |= {f"{n} of {s}": values[s - 1] for n, values in means.items() for s in (1, 2)}
    assert result.measured == pytest.approx(expected, abs=1e-6)
    assert result.score == result.measured["RR@10"]
    assert len(set(means["RR@10"])) == 2  # the sources differ
