"""A round over documents that are cut into passages: positives, negatives, batches, validation."""

import shutil
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from helpers import contents, settings
from round_helpers import ranked
from training_helpers import embedded, fixed_passages

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.bm25 import lucene
from dpr.encoders import checkpoint
from dpr.measures import by_topic, means
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.documents import document_of
from dpr.records.types import Pair
from dpr.settings import PassageSettings
from dpr.sources.cut import cut
from dpr.training import validation
from dpr.training.pairs import PairSet
from dpr.training.validation import Validator

TRAINING = Path("data/training")
CUT = {"data.passages.words": 5, "data.passages.overlap": 1}


def cut_folder(folder):
    """The folder with its documents cut; from 1 to 6 passages each."""
    options = PassageSettings(words=5, overlap=1)
    beir.write_passages(folder, list(cut(list(beir.read_passages(folder)), options)))
    return folder


@pytest.fixture
def cut_stages(stages):
    cut_folder(TRAINING)
    return stages


def scaled(scores, lowest):
    highest = max(scores.values())
    return {p: (score - lowest) / (highest - lowest) for p, score in scores.items()}


def test_the_positive_is_the_passage_of_the_document_that_both_rank_highest(cut_stages, tmp_path):
    """By their scaled scores; the collection has fewer than 100 passages, so all are ranked."""
    beir.write_passages(TRAINING, list(beir.read_passages(TRAINING))[:90])
    given = [p for p in beir.read_pairs(TRAINING) if p.passage_id < "d15"]
    given[0] = given[0]._replace(negative_ids=("d13", "d14"))
    beir.write_pairs(TRAINING, given)
    cut_stages("first", "vectors", "mine", **CUT)
    found = beir.read_pairs("data/negatives/first")
    assert [(q, document_of(p)) for q, p, _ in found] == [(q, d) for q, d, _ in given]
    assert [document_of(p) for p in found[0].negative_ids] == ["d13", "d14"]

    texts = [(p.id, contents(p)) for p in beir.read_passages(TRAINING)]
    lucene.build_index(texts, tmp_path / "bm25")
    queries, encoder = beir.read_queries(TRAINING), checkpoint.load("data/encoders/zero_shot")
    later = 0
    for pair in found:
        query = queries[pair.query_id]
        dense = dict(ranked(encoder, query.text))
        step = (max(dense.values()) - min(dense.values())) / (len(dense) - 1)
        (bm25,) = lucene.search(tmp_path / "bm25", [query], 0.9, 0.4, 100, 1).values()
        both = scaled(dense, min(dense.values()) - step)
        both = {p: s + scaled(bm25, 0).get(p, 0) for p, s in both.items()}
        for chosen in (pair.passage_id, *pair.negative_ids):
            rivals = [p for p in both if document_of(p) == document_of(chosen)]
            assert chosen == max(rivals, key=both.get), rivals
            later += not chosen.endswith("#0")
    assert later


def test_the_first_passage_needs_no_ranking(cut_stages):
    given = beir.read_pairs(TRAINING)
    cut_stages("first", "vectors", "mine", **CUT, **{"mine.positive": "first"})
    assert not Path("data/vectors/first/manifest.json").exists()
    assert beir.read_pairs("data/negatives/first") == [Pair(q, f"{d}#0") for q, d, _ in given]


@pytest.mark.parametrize("positive", ["best", "first"])
def test_negatives_are_the_best_passages_of_documents_that_are_not_relevant(cut_stages, positive):
    use = {"mine.bm25.use": True, "mine.encoder.use": True, "mine.positive": positive}
    ranks = {"mine.bm25.last_rank": 60, "mine.encoder.last_rank": 60}
    cut_stages("first", "vectors", "mine", **CUT, **use, **ranks)
    qrels, encoder = beir.read_qrels(TRAINING, "train"), checkpoint.load("data/encoders/zero_shot")
    queries, texts = beir.read_queries(TRAINING), dict(Corpus(TRAINING, ". ").texts())
    for pair in beir.read_pairs("data/negatives/first"):
        scores = dict(ranked(encoder, queries[pair.query_id].text))
        best = {document_of(p): s for p, s in reversed(scores.items())}  # the best comes last
        found = {
            document_of(p) for p in pair.negative_ids if scores[p] > best[document_of(p)] - 1e-5
        }
        texts_of_relevant = {texts[p] for p in texts if document_of(p) in qrels[pair.query_id]}
        expected = {
            document_of(p)
            for p in scores
            if scores[p] == best[document_of(p)] and texts[p] not in texts_of_relevant
        }
        assert found == expected - qrels[pair.query_id].keys()
        negatives = [document_of(p) for p in pair.negative_ids]
        assert not qrels[pair.query_id].keys() & set(negatives)
        assert max(map(negatives.count, negatives)) <= 2  # BM25 may find a different passage


def test_a_margin_compares_with_the_positives_own_score(cut_stages, tmp_path):
    """Also if BM25 finds a different passage of its document better."""
    passages = [
        p._replace(text="nothing that matters") if p.id.endswith("#0") else p
        for p in beir.read_passages(TRAINING)
    ]
    beir.write_passages(TRAINING, passages)
    asked = beir.read_queries(TRAINING).values()
    beir.write_queries(TRAINING, [q._replace(text=f"{q.text} in a study") for q in asked])
    use = {"mine.bm25.use": True, "mine.positive": "first", "mine.bm25.margin": 0.01}
    cut_stages("first", "mine", **CUT, **use, **{"mine.bm25.last_rank": 60})
    lucene.build_index(Corpus(TRAINING, ". ", cut=True).texts(), tmp_path / "bm25")
    queries, qrels = beir.read_queries(TRAINING), beir.read_qrels(TRAINING, "train")
    worse = 0
    for query_id, own, negatives in beir.read_pairs("data/negatives/first"):
        (scores,) = lucene.search(tmp_path / "bm25", [queries[query_id]], 0.9, 0.4, 999, 1).values()
        best = {}
        for passage_id, score in scores.items():
            best[document_of(passage_id)] = max(score, best.get(document_of(passage_id), 0))
        expected = {
            d for d, s in best.items() if d not in qrels[query_id] and s <= scores[own] - 0.01
        }
        assert {document_of(p) for p in negatives} == expected
        worse += scores[own] < best[document_of(own)] and bool(expected)
    assert worse


@pytest.mark.parametrize("roles", ["both", "query"])
def test_no_passage_of_a_relevant_document_is_a_negative_in_a_batch(
    collection, make_encoder, tmp_path, roles
):
    cut_folder(collection)
    corpus, encoder = Corpus(collection, ". ", cut=True), make_encoder()
    qrels = beir.read_qrels(collection, "train")
    pairs = [Pair(q, f"{d}#0", ("d41#0",)) for q, d, _ in beir.read_pairs(collection)]
    fixed = fixed_passages(encoder, collection) if roles == "query" else None
    chosen = settings(roles=roles, batch_size=6, hard_negatives=1)
    (tmp_path / "work").mkdir()
    made = PairSet(corpus, pairs, encoder, chosen, tmp_path / "work", fixed=fixed)
    batch = next(made.batches(0))
    stored = list(corpus.ids)
    used = {p for pair in pairs for p in (pair.passage_id, *pair.negative_ids)}
    rows = stored if fixed else [p for p in stored if p in used]
    query_ids = list(dict.fromkeys(q.id for q in beir.stream_queries(collection) if q.id in qrels))
    texts = dict(corpus.texts())
    for query, relevant in zip(batch.targets.query_ids, batch.targets.relevant, strict=True):
        grades = qrels[query_ids[query]]
        answers = {p for p in stored if document_of(p) in grades}
        same = {texts[p] for p in answers}
        columns = [rows[i] for i in batch.targets.passage_ids]
        assert relevant.tolist() == [texts[p] in same for p in columns]
        assert not fixed or answers <= set(columns)


@pytest.mark.parametrize("window", [8192, 7])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("size", [None, 20])
def test_a_validation_ranks_documents(collection, make_encoder, monkeypatch, window, fixed, size):
    cut_folder(collection)
    corpus, encoder = Corpus(collection, ". ", cut=True), make_encoder()
    monkeypatch.setattr(validation, "WINDOW", window)
    vectors = fixed_passages(encoder, collection) if fixed else None
    chosen = settings(valid_passages=size, batch_size=50)
    validator = Validator(corpus, encoder, chosen, fixed=vectors)
    result = validator.validate(encoder, 3)
    texts, queries = dict(corpus.texts()), beir.read_queries(collection)
    if size:
        assert len(set(map(document_of, validator.pool))) == size < len(validator.pool)
        texts = {p: texts[p] for p in validator.pool}
    passages = embedded(encoder, list(texts.values()), "passage")
    run, losses = {}, []
    for query_id in validator.qrels:
        scores = passages @ embedded(encoder, [queries[query_id].text], "query")[0]
        best = {}
        for passage_id, score in zip(texts, scores.tolist(), strict=True):
            document = document_of(passage_id)
            best[document] = max(score, best.get(document, -np.inf))
        run[query_id] = best
    (batch,) = validator.batches
    for row, column in batch.pairs.tolist():
        query_id = batch.query_ids[row]
        mine = np.array([run[query_id][d] for d in batch.passage_ids]) / chosen.temperature
        kept = [i == column or not hit for i, hit in enumerate(batch.relevant[row].tolist())]
        losses.append(np.log(np.exp(mine[kept]).sum()) - mine[column])
    measured = means(by_topic(validator.qrels, run, ["nDCG@10"]))
    assert result.measured == pytest.approx(measured, abs=1e-6)
    assert result.loss == pytest.approx(fmean(losses), rel=1e-4)


def test_a_round_trains_and_a_teachers_file_names_passages(cut_stages):
    cut_stages("first", "vectors", "mine", "train", **CUT)
    assert read_json("metrics/train.json")["steps"] == 10
    shutil.rmtree("data/negatives")
    Path("given.jsonl").write_text('{"query_id": "q0", "passage_id": "d00", "score": 1}\n')
    teacher = {"teacher.scores": "file:given.jsonl", "train.teacher_share": 0.5}
    with pytest.raises(
        InputError, match=r"cannot name the positives .* set mine\.positive to first"
    ):
        cut_stages("first", "mine", **CUT, **teacher)
    with pytest.raises(InputError, match="has no passage 'd00'"):
        cut_stages("first", "mine", **CUT, **teacher, **{"mine.positive": "first"})
