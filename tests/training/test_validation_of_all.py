"""Validation over all passages, in windows, by any measure, of one source and of several."""

from statistics import fmean

import numpy as np
import pytest
from helpers import contents, settings
from training_helpers import embedded, fixed_passages

from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Judgment, Query
from dpr.training import validation
from dpr.training import validation as passages_ranked
from dpr.training.validation import Validator


def validated(encoder, folder, fixed=None, prompts=None, **changes):
    chosen = settings(**({"valid_passages": None} | changes))
    return Validator(Corpus(folder, ". "), encoder, chosen, fixed, prompts).validate(encoder, 3)


def ranked(encoder, folder, prompt=""):
    """{query id: the ids of all passages, best first} by numpy."""
    passages = {p.id: contents(p) for p in beir.read_passages(folder)}
    vectors, ids = embedded(encoder, list(passages.values()), "passage"), np.array([*passages])
    topics, queries = beir.read_qrels(folder, "valid"), beir.read_queries(folder)
    found = {q: embedded(encoder, [prompt + queries[q].text], "query")[0] for q in topics}
    return {q: ids[np.argsort(-(vectors @ query))].tolist() for q, query in found.items()}


def ndcg(ranking, grades):
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = [grades.get(passage_id, 0) for passage_id in ranking[:10]]
    ideal = sorted(grades.values(), reverse=True)[:10]
    return np.dot(gains, discounts) / np.dot(ideal, discounts[: len(ideal)])


def reciprocal_rank(ranking, grades):
    """Of the first relevant passage among ten."""
    ranks = [rank for rank, p in enumerate(ranking[:10], 1) if grades.get(p, 0) > 0]
    return 1 / ranks[0] if ranks else 0.0


@pytest.mark.parametrize("window", [8192, 60, 7, 1])
@pytest.mark.parametrize("fixed", [False, True])
def test_all_passages_are_ranked_in_windows_as_at_once(
    make_encoder, collection, monkeypatch, window, fixed
):
    encoder = make_encoder()
    vectors = fixed_passages(encoder, collection) if fixed else None
    whole = validated(encoder, collection, valid_passages=60, batch_size=50)
    monkeypatch.setattr(passages_ranked, "WINDOW", window)
    found = validated(encoder, collection, vectors, batch_size=50, valid_measure="RR@10")
    qrels, order = beir.read_qrels(collection, "valid"), ranked(encoder, collection)
    assert found.measured == pytest.approx(
        {
            "nDCG@10": fmean(ndcg(order[q], qrels[q]) for q in qrels),
            "RR@10": fmean(reciprocal_rank(order[q], qrels[q]) for q in qrels),
        },
        abs=1e-6,
    )
    assert 0 < found.score == found.measured["RR@10"] != found.measured["nDCG@10"]
    assert found.loss == pytest.approx(whole.loss, rel=1e-5)


@pytest.mark.parametrize("depth", [12, 20])
def test_only_the_best_are_kept_from_window_to_window(make_encoder, collection, monkeypatch, depth):
    encoder, runs = make_encoder(), []
    monkeypatch.setattr(validation, "VALIDATION_DEPTH", depth)
    monkeypatch.setattr(passages_ranked, "WINDOW", 7)
    measure = validation.measures.by_topic
    monkeypatch.setattr(
        validation.measures,
        "by_topic",
        lambda q, run, names: runs.append(run) or measure(q, run, names),
    )
    validated(encoder, collection)
    order = ranked(encoder, collection)
    assert {q: [*scores] for q, scores in runs[0].items()} == {q: order[q][:depth] for q in order}


def test_a_pool_of_fixed_vectors_ranks_what_the_texts_do(make_encoder, collection, monkeypatch):
    encoder = make_encoder()
    of_texts = validated(encoder, collection, valid_passages=20)
    monkeypatch.setattr(passages_ranked, "WINDOW", 7)
    found = validated(encoder, collection, fixed_passages(encoder, collection), valid_passages=20)
    assert found.score == pytest.approx(of_texts.score, abs=1e-6)
    assert found.loss == pytest.approx(of_texts.loss, rel=1e-5)
    assert found.score > validated(encoder, collection).score  # fewer passages, easier


def test_windows_leave_nothing_behind(make_encoder, collection, monkeypatch):
    """Of each window only the scores of the pairs' passages: a view would keep it whole."""
    kept, loss = [], Validator._loss
    monkeypatch.setattr(passages_ranked, "WINDOW", 7)
    monkeypatch.setattr(
        Validator,
        "_loss",
        lambda self, scores, targets: kept.append(scores) or loss(self, scores, targets),
    )
    validated(make_encoder(), collection)
    column = 3 * 4  # bytes: a float32 for each of three topics
    assert {scores.untyped_storage().nbytes() for scores in kept[0].values()} == {column}


def test_the_chosen_measure_chooses_the_best_step(make_encoder, make_trainer, collection):
    """Each step's encoder ranked by numpy; the first of the best is kept."""
    orders = []

    def validate(encoder, step):
        encoder.eval()
        orders.append(ranked(encoder, collection))
        return validator.validate(encoder, step)

    encoder = make_encoder()
    chosen = {"valid_measure": "RR@10", "max_steps": 6, "eval_every": 1, "lr": 5e-3}
    corpus = Corpus(collection, ". ")
    validator = Validator(corpus, encoder, settings(valid_passages=None, **chosen))
    history = make_trainer(validate, encoder, patience=None, **chosen).run()
    qrels = beir.read_qrels(collection, "valid")
    scores = [fmean(reciprocal_rank(order[q], qrels[q]) for q in qrels) for order in orders]
    assert [v.score for v in history.validations] == pytest.approx(scores, abs=1e-6)
    assert history.best.step == int(np.argmax(scores))
    by_ndcg = [v.measured["nDCG@10"] for v in history.validations]
    assert by_ndcg != pytest.approx(scores)


def test_a_mixture_is_the_mean_of_its_sources(make_encoder, collection):
    """Source 1 has one topic, source 2 four: each counts the same, and each with its prompt."""
    qrels = beir.read_qrels(collection, "valid")
    topics = {"q6": 1, "q7": 2, "q8": 2, "q9": 2, "q10": 2}
    qrels |= beir.read_qrels(collection, "test")
    judged = [Judgment(q, p, grade) for q in topics for p, grade in qrels[q].items()]
    beir.write_qrels(collection, "valid", judged)
    texts = {query.id: query.text for query in beir.read_queries(collection).values()}
    sourced = [Query(i, text, False, topics.get(i, 1)) for i, text in texts.items()]
    beir.write_queries(collection, sourced)
    encoder, prompts = make_encoder(), ["study of ", "it 3 "]
    chosen = {"prompts": prompts, "valid_measure": "RR@10"}
    found = validated(encoder, collection, **chosen)
    by_prompt = [ranked(encoder, collection, prompt) for prompt in prompts]
    means = {}
    for name, measure in (("nDCG@10", ndcg), ("RR@10", reciprocal_rank)):
        of = {q: measure(by_prompt[source - 1][q], qrels[q]) for q, source in topics.items()}
        means[name] = [fmean(of[q] for q in topics if topics[q] == s) for s in (1, 2)]
    expected = {name: fmean(own) for name, own in means.items()}
    expected |= {f"{n} of {s}": own[s - 1] for n, own in means.items() for s in (1, 2)}
    assert found.measured == pytest.approx(expected, abs=1e-6)
    assert found.score == found.measured["RR@10"]
    assert len(set(means["RR@10"])) == 2  # the sources differ
