"""The stage reranker: which negatives it trains on, and what a second run does."""

import importlib
from pathlib import Path

from round_helpers import ranked

from dpr.base.files import sha256
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.types import Passage
from dpr.reranking import training

NEAREST = 3
SMALL = {
    "rerank.model": "trained",
    "rerank.train.steps": 3,
    "rerank.train.batch_size": 4,
    "rerank.train.passages": 20,
    "rerank.train.max_length": 32,
    "mine.bm25.last_rank": 50,
    "mine.encoder.last_rank": NEAREST,
}


def run(stages, changes):
    stages("first", **changes)
    importlib.import_module("stages.reranker").main()
    return sha256(Path("data/reranker/model.safetensors"))


def test_negatives_are_those_of_bm25_and_of_the_encoder(stages, monkeypatch):
    """The nearest passages by numpy; by BM25 those with the word, which nobody judged."""
    corpus = Path("data/training")
    passages, queries = beir.read_passages(corpus), beir.read_queries(corpus)
    more = [Passage(f"x-{q.id}", "", f"{q.text} " * 9) for q in queries.values()]
    beir.write_passages(corpus, [*passages, *more])
    seen, train = [], training.train

    def watched(model, groups, *rest):
        seen.extend(groups)
        return train(model, groups, *rest)

    monkeypatch.setattr(training, "train", watched)
    run(stages, SMALL)
    encoder = checkpoint.load("data/encoders/zero_shot")
    relevant = beir.read_qrels(corpus, "train")
    both = 0
    for group in seen:
        own, negatives = group.passage_id, group.negative_ids
        nearest = {p for p, _ in ranked(encoder, queries[group.query_id].text)[:NEAREST]}
        expected = (nearest | {f"x-{group.query_id}"}) - relevant[group.query_id].keys()
        assert own in relevant[group.query_id] and set(negatives) == expected
        both += bool(nearest - relevant[group.query_id].keys() - {f"x-{group.query_id}"})
    assert len(seen) == 12 and both


def test_a_training_whose_result_was_lost_is_not_repeated_unless_a_text_changed(stages, capsys):
    first = run(stages, SMALL)
    capsys.readouterr()
    assert run(stages, SMALL) == first
    assert "resuming after step 3" in capsys.readouterr().out
    assert run(stages, SMALL | {"data.separator": " is about "}) != first
    assert "resuming" not in capsys.readouterr().out
