"""The rounds of training, stage by stage: what each mines with, begins with and leaves."""

from pathlib import Path

import pytest
from accelerate.tracking import GeneralTracker
from round_helpers import ROUND, SECOND, files, nearest, weights

from dpr.base.files import read_json
from dpr.embeddings import passages as encoding
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.training import log

NOT_READ = {"second.mine": {"encoder": None}, "second.train": {"lr": "fast"}}


@pytest.mark.parametrize("none", [NOT_READ, SECOND | {"train.max_steps": 0}])
def test_without_the_second_round_the_encoder_is_handed_on(stages, none):
    stages("first", *ROUND)
    stages("second", *ROUND, **none)
    assert files("data/encoders/dense") == files("data/encoders/first")
    assert files("data/encoders/first") != files("data/encoders/zero_shot")
    assert read_json("metrics/train_second.json") == {"steps": 0}
    assert read_json("metrics/mine_second.json") == {"pairs": 0}


def test_nothing_of_an_older_encoder_stays_when_it_is_handed_on(stages, make_encoder):
    checkpoint.save(make_encoder(tied=False), "data/encoders/dense")
    checkpoint.save(make_encoder(), "data/encoders/first")
    stages("second", "train")
    assert files("data/encoders/dense") == files("data/encoders/first")


@pytest.mark.slow
def test_each_training_has_a_folder_of_its_own_for_loggers(stages, monkeypatch):
    opened = []

    def logger(name, folder):
        opened.append(str(folder))
        return GeneralTracker(_blank=True)

    monkeypatch.setattr(log, "_logger", logger)
    logged = {"loggers": ["tensorboard"]}
    stages("first", *ROUND, **logged)
    stages("second", *ROUND, **SECOND | logged)
    stages("first", *ROUND, **logged)  # again, as a resumed one
    stages("first", *ROUND, **logged | {"train.lr": 1e-4})
    first, second, again, changed = opened
    assert again == first and len({first, second, changed}) == 3
    keys = {path.parent.name for path in Path(".scratch/train").glob("*/finished")}
    assert opened[:2] == [
        f".scratch/tensorboard/{round}-{folder.rpartition('-')[2]}"
        for round, folder in zip(("first", "second"), opened, strict=False)
    ]
    assert {folder.rpartition("-")[2] for folder in opened} == keys


def test_the_second_round_begins_with_the_encoder_of_the_first(stages):
    stages("first", *ROUND)
    first = weights("data/encoders/first")
    stages("second", *ROUND, **SECOND | {"second.train": {"max_steps": 0}})
    for name, value in weights("data/encoders/dense").items():
        assert (value == first[name]).all(), name
    stages("second", *ROUND, **SECOND)
    trained = weights("data/encoders/dense")
    assert any((trained[name] != value).any() for name, value in first.items())
    shown = [read_json(f"metrics/train{suffix}.json") for suffix in ("", "_second")]
    # Its validation before the first step is that of the first round's best step.
    assert shown[1]["before"]["nDCG@10"] == pytest.approx(shown[0]["best"]["nDCG@10"])
    assert shown[1]["before"]["loss"] == pytest.approx(shown[0]["best"]["loss"], rel=1e-4)


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
