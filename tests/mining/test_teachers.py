"""Teachers: their scores, the passages that they score, and bad input."""

import numpy as np
import pytest
import torch
from helpers import PARAMS, jsonl
from sentence_transformers import CrossEncoder

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.mining import teachers
from dpr.mining.mine import Miner
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.scores import read_scores
from dpr.records.types import Pair, Passage, Query
from dpr.settings import MineRanker

QUERIES = {q: Query(q, text) for q, text in (("q1", "heart"), ("q2", "lung"), ("q3", "bone"))}
ASKED = list(QUERIES.values())
POSITIVES = {"q1": ["a", "x"], "q2": ["c"], "q3": ["e"]}
SPARSE = {"q1": {"a": 8.0, "b": 6.0, "c": 2.0, "d": 1.0}, "q2": {"d": 5.0}, "q3": {}}
DENSE = {
    "q1": {"c": 0.9, "a": 0.5, "e": 0.4, "b": 0.1},
    "q2": {"c": 0.2, "d": 0.8},
    "q3": {"a": 0.3, "b": 0.1, "e": -0.1},
}
ANY_RANK = MineRanker(use=True, first_rank=1, last_rank=100, margin=None, relative_margin=None)


@pytest.fixture
def corpus(tmp_path):
    """The passages a, b, c, d, e and x, each of some words."""
    texts = {"a": "heart", "b": "heart lung", "c": "lung", "d": "skin", "e": "bone", "x": "eye"}
    passages = [Passage(p, "", f"the {text} of it") for p, text in texts.items()]
    beir.write_passages(tmp_path / "training", passages)
    return Corpus(tmp_path / "training", ". ")


def from_lowest(scores, depth, lowest=None):
    """The best `depth` scores, the highest 1 and `lowest` 0; None: a mean step below the last."""
    best = sorted(scores, key=scores.get, reverse=True)[:depth]
    if not best:
        return {}
    values = np.array([scores[p] for p in best])
    if lowest is None:
        lowest = values[-1] + np.diff(values).mean()
    return dict(zip(best, (values - lowest) / (values[0] - lowest), strict=True))


@pytest.mark.parametrize("depth", [2, 3, 100])
def test_fusion_is_the_mean_of_scaled_scores(depth):
    taught = teachers.fusion(depth)(ASKED, POSITIVES, [SPARSE, DENSE])
    assert list(taught) == ["q1", "q2", "q3"]
    for query_id, own in POSITIVES.items():
        parts = [from_lowest(SPARSE[query_id], depth, 0), from_lowest(DENSE[query_id], depth)]
        mean = {p: (parts[0].get(p, 0) + parts[1].get(p, 0)) / 2 for p in parts[0] | parts[1]}
        best = sorted(mean, key=lambda p: (-mean[p], p))[:depth]
        expected = {p: mean[p] for p in best} | {p: mean.get(p, 0) for p in own}
        assert taught[query_id] == pytest.approx(expected)
    assert taught["q1"]["x"] == 0  # neither ranks it


def test_a_query_that_is_a_passage_is_not_among_those_that_teach():
    """It is nearest to itself, and would take the highest score."""
    asked = [Query("a", "heart", is_passage=True)]
    runs = [{"a": {"a": 9.0, "b": 4.0, "c": 2.0}}, {"a": {"a": 1.0, "c": 0.4, "b": 0.2}}]
    seen = []

    def teacher(queries, positives, given):
        seen.extend(given)
        return {"a": {"b": 1.0, "c": 0.5}}

    rankers = [((lambda block, positives, run=run: run), None) for run in runs]
    options = PARAMS.teacher.model_copy(update={"scores": "fusion"})
    pairs, never = [Pair("a", "b")], {"a": {"a", "b"}}
    Miner(pairs, {"a": asked[0]}, never, rankers, teacher, options).run(1, 0)
    assert seen == [{"a": {"b": 4.0, "c": 2.0}}, {"a": {"c": 0.4, "b": 0.2}}]


@pytest.mark.parametrize("depth", [1, 100])
def test_a_cross_encoder_scores_the_best_of_each_ranker(corpus, cross_encoder, depth, monkeypatch):
    monkeypatch.setattr(formats, "training_format", lambda *_: "fp32")
    folder = cross_encoder(labels=1)
    teacher = teachers.open_teacher(f"cross-encoder:{folder}", depth, QUERIES, corpus)
    taught = teacher(ASKED, POSITIVES, [SPARSE, DENSE])
    texts, model = dict(corpus.texts()), CrossEncoder(folder, device="cpu")
    values = []
    for query_id, own in POSITIVES.items():
        best = [sorted(r[query_id], key=r[query_id].get)[::-1][:depth] for r in (SPARSE, DENSE)]
        expected = {*own, *best[0], *best[1]}
        assert taught[query_id].keys() == expected
        for passage_id in expected:
            pair = (QUERIES[query_id].text, texts[passage_id])
            alone = model.predict([pair], activation_fn=torch.nn.Identity())[0]  # no sigmoid
            assert taught[query_id][passage_id] == pytest.approx(alone, abs=1e-5)
            values.append(alone)
    assert np.ptp(values) > 0.1


def test_a_cross_encoder_truncates_long_texts(corpus, cross_encoder):
    beir.write_passages(corpus.folder, [Passage("c", "", "lung " * 500)])
    teacher = teachers.cross_encoder(cross_encoder(labels=1), corpus, 10)
    assert teacher([QUERIES["q2"]], {"q2": ["c"]}, [])["q2"].keys() == {"c"}


def test_a_cross_encoder_that_cannot_be_loaded(corpus, tmp_path):
    (tmp_path / "config.json").write_text("{")
    for name in (tmp_path, tmp_path / "nothing"):
        message = rf"teacher\.scores: cannot load the cross-encoder '{name}'"
        with pytest.raises(InputError, match=message):
            teachers.open_teacher(f"cross-encoder:{name}", 10, QUERIES, corpus)


def test_a_cross_encoder_with_several_labels(corpus, cross_encoder):
    with pytest.raises(InputError, match=r"gives 3 numbers per pair; choose a cross-encoder that"):
        teachers.open_teacher(f"cross-encoder:{cross_encoder(labels=3)}", 10, QUERIES, corpus)


def test_a_folder_has_no_revision(corpus, cross_encoder):
    name = f"cross-encoder:{cross_encoder(labels=1)}"
    with pytest.raises(InputError, match=r"teacher\.scores: .* is a folder, which has no revision"):
        teachers.open_teacher(name, 10, QUERIES, corpus, "v2")


ROWS = [
    {"query_id": "q1", "passage_ids": ["a", "x", "b"], "scores": [3, 2.5, 1]},
    {"query_id": "q2", "passage_id": "c", "score": 0.5},
    {"query_id": "q2", "passage_id": "d", "score": 0.25},
    {"query_id": "q3", "passage_id": "e", "score": 7},
]


@pytest.fixture
def taught(corpus, tmp_path):
    """taught(rows, margin) -> (mined pairs, the scores written), of a file with these rows."""

    def run(rows, margin=None):
        path, scores = tmp_path / "given.jsonl", tmp_path / "teacher.jsonl"
        path.write_bytes(jsonl(*rows))
        name = f"file:{path}"
        options = PARAMS.teacher.model_copy(update={"scores": name, "margin": margin})
        teacher = teachers.open_teacher(name, options.depth, QUERIES, corpus)
        pairs = [Pair(query_id, p) for query_id, own in POSITIVES.items() for p in own]
        never = {query_id: set(own) for query_id, own in POSITIVES.items()}
        rankers = [((lambda block, positives: DENSE), ANY_RANK)]
        mined = Miner(pairs, QUERIES, never, rankers, teacher, options).run(9, 0, scores)
        written = {}
        for _, query_id, passage_ids, values in read_scores(scores):
            written[query_id] = dict(zip(passage_ids, values, strict=True))
        return {(p.query_id, p.passage_id): set(p.negative_ids) for p in mined}, written

    return run


def test_a_file_teaches_what_it_says(taught):
    mined, written = taught(ROWS)
    assert written == {
        "q1": {"a": 3.0, "x": 2.5, "b": 1.0},
        "q2": {"c": 0.5, "d": 0.25},
        "q3": {"e": 7.0},
    }
    assert mined["q1", "a"] == {"b", "c", "e"}  # without a margin, also what it does not score


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.0, [{"b"}, {"b"}, {"d"}, set()]),
        (0.25, [{"b"}, {"b"}, {"d"}, set()]),  # exactly the margin below is enough
        (1.6, [{"b"}, set(), set(), set()]),
        (-10.0, [{"b"}, {"b"}, {"d"}, set()]),  # what the teacher does not score is left out
    ],
)
def test_mined_negatives_are_below_the_own_passage_by_the_teacher(taught, margin, expected):
    mined, _ = taught(ROWS, margin)
    assert list(mined.values()) == expected  # of (q1, a), (q1, x), (q2, c), (q3, e)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ROWS[1] | {"query_id": "q9"}], r"given\.jsonl:5: .*no query 'q9'"),
        ([*ROWS, ROWS[1] | {"passage_id": "z"}], r"given\.jsonl:5: .*no passage 'z'"),
        ([*ROWS, ROWS[1]], r"given\.jsonl:5: passage 'c' is scored twice for 'q2'"),
        ([ROWS[0] | {"passage_ids": ["a", "x", "a"]}], r"given\.jsonl:1: .*'a' is scored twice"),
        (ROWS[:3], r"no score of passage 'e' for the training query 'q3'.*score every training"),
        ([*ROWS[:3], ROWS[3] | {"passage_id": "a"}], r"no score of passage 'e' for the .*'q3'"),
        ([row | {"scores": [2] * 3} if "scores" in row else row | {"score": 2} for row in ROWS],
         r"teacher\.scores: file:.* gives every passage the same score.*choose a"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_teach_is_refused(taught, rows, message):
    with pytest.raises(InputError, match=message):
        taught(rows)


def test_scores_that_are_not_finite_are_refused_before_training():
    runs = {"q1": {"a": float("nan"), "x": 1.0}}
    with pytest.raises(InputError, match=r"teacher\.scores: .*'q1'.*finite"):
        teachers.require_complete(runs, {"q1": ["a", "x"]}, "cross-encoder:broken")
