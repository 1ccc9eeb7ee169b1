"""The work that a forecast counts is what torch counts; its rates are those of what has run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import open_model, write_params
from torch.utils.flop_counter import FlopCounterMode

from dpr.evaluation.lengths import statistics
from dpr.settings import load_settings
from dpr.training import parameters
from tools import forecast
from tools.forecast import Forecast, Machine, matrices

PRODUCTS = {"fp32": 1e9, "bf16": 2e9}
PASSAGE, QUERY, TEXTS = 32, 8, 4  # tokens, tokens, texts


def products(counter):
    """Operations of matrix products with weights, as torch counts them."""
    counts = counter.get_flop_counts()["Global"]
    return sum(counts.get(op, 0) for op in (torch.ops.aten.mm, torch.ops.aten.addmm))


@pytest.fixture
def make_forecast(tiny_model, tmp_path, monkeypatch):
    """make_forecast(key=value of params.yaml, ...) -> the forecast of a small collection."""
    monkeypatch.setattr(forecast, "RATES", tmp_path / "rates.json")
    counts = {"passages": {"count": 1000, "sha256": "1"}}
    judged = {split: {"queries": 10} for split in ("train", "valid", "test")}
    manifest = {
        "collection": counts | {"judgments": judged, "name": "medline"},
        "train": counts
        | {"judgments": judged, "pairs": {"count": 99, "with_negatives": 0}, "name": "medline"},
    }
    lengths = {
        f"{data}_{texts}": statistics(np.full(50, size), 256)
        for data in ("collection", "train")
        for texts, size in (("passages", PASSAGE), ("queries", QUERY))
    }

    def make(rates=None, **changes):
        params = tmp_path / "params.yaml"
        write_params(params, {k if "." in k else f"train.{k}": v for k, v in changes.items()})
        machine = Machine(PRODUCTS, "cpu", "fp32", "int8", matrices(Path(tiny_model)))
        return Forecast(load_settings(params), manifest, lengths, machine, rates or {})

    return make


@pytest.mark.parametrize("freeze_layers", [0, 0.5])
def test_operations_of_a_step_are_those_that_torch_counts(make_forecast, tiny_model, freeze_layers):
    chosen = {"batch_size": TEXTS, "max_steps": 3, "valid_passages": 500}
    made = make_forecast(freeze_layers=freeze_layers, eval_every=10, **chosen)
    encoder = open_model(tiny_model, query_max_length=32, passage_max_length=64)
    parameters.prepare(encoder, made.settings.train)
    with FlopCounterMode(display=False) as step:
        for role, size in (("query", QUERY), ("passage", PASSAGE)):
            encoder([np.ones(size, np.int64)] * TEXTS, role).sum().backward()
    with torch.no_grad(), FlopCounterMode(display=False) as passage:
        encoder([np.ones(PASSAGE, np.int64)], "passage")
    validations = 2 * 500 * products(passage)
    expected = 3 * products(step) + validations
    assert made.work("train@first").operations == pytest.approx(expected, rel=0.02)
    assert made.work("encode@zero_shot").operations == pytest.approx(
        1000 * products(passage), rel=0.005
    )


def test_the_same_passages_are_encoded_once_by_each_passage_encoder(make_forecast):
    made = make_forecast(**{"second.use": True})  # its second round trains the query encoder alone
    busy = {
        stage
        for stage in ("encode@zero_shot", "vectors@first", "vectors@second", "encode@dense")
        if made.work(stage).operations
    }
    assert busy == {"encode@zero_shot", "vectors@second"}
    made.manifest["train"]["passages"] = {"count": 1000, "sha256": "2"}
    assert made.work("encode@dense").operations


def test_the_mean_of_truncated_lengths():
    lengths = np.random.default_rng(0).lognormal(5.3, 0.5, 20_000).astype(int)
    for limit in (128, 160, 256, None):
        exact = np.minimum(lengths, limit or 10**6).mean()
        assert forecast.mean_length(statistics(lengths, limit), limit) == pytest.approx(exact, 0.06)


def test_a_stage_that_has_run_corrects_the_rest(make_forecast):
    made = make_forecast()
    before, own = made.seconds("encode@zero_shot"), made.seconds("train@first")
    made.learn("encode@zero_shot", 3 * before)
    assert made.seconds("encode@zero_shot") == pytest.approx(3 * before)
    assert made.seconds("train@first") == own  # a different kind of work
    made.learn("encode@zero_shot", before / 10)  # it found its work done
    assert made.seconds("encode@zero_shot") == pytest.approx(3 * before)
    later = make_forecast(rates=forecast.read_json(forecast.RATES))
    assert later.seconds("encode@zero_shot") == pytest.approx(3 * before)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (2, "about 5 seconds"),
        (41, "about 40 seconds"),
        (70, "about 1 minute"),
        (400, "about 7 minutes"),
        (9000, "about 2.5 hours"),
    ],
)
def test_times_in_words(seconds, words):
    assert forecast.in_words(seconds) == words


def test_a_cross_encoder_has_no_forecast(make_forecast, tmp_path, monkeypatch):
    made = make_forecast()
    for name, values in (("manifest.json", made.manifest), ("lengths.json", made.lengths)):
        forecast.write_json(tmp_path / name, values)
    monkeypatch.setattr(forecast, "MANIFEST", tmp_path / "manifest.json")
    monkeypatch.setattr(forecast, "LENGTHS", tmp_path / "lengths.json")
    monkeypatch.chdir(tmp_path)
    assert Forecast.here(made.machine, initialized=False) == made
    teacher = {"teacher.scores": "cross-encoder:NAME", "train.teacher_share": 0.5}
    for changes in (teacher | {"mine.bm25.use": True}, {"rerank.model": "trained"}):
        write_params(tmp_path / "params.yaml", changes)
        assert Forecast.here(made.machine, initialized=False) is None


@pytest.mark.parametrize(("bf16", "seconds"), [(2e9, 100 / 1.1), (8e9, 100 / 1.52)])
def test_matrix_units_reach_a_smaller_share_of_their_rate(make_forecast, bf16, seconds):
    """8e9 as on an Intel Xeon with AMX, by measurement: .19 of the rate in bf16."""
    made = make_forecast()
    machine = made.machine._replace(products={"fp32": 1e9, "bf16": bf16}, encoding="bf16")
    work = forecast.Work("encoding", "bf16", 1e11)
    assert work.operations / replace(made, machine=machine)._rate(work) == pytest.approx(seconds)
