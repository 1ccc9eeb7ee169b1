"""The training loop: checkpoints, patience, and the same bytes again."""

import dataclasses
import itertools
import time

import numpy as np
import pytest
import torch
from training_helpers import changed, weights_of

from dpr.base.errors import InputError
from dpr.training.log import Validation


@pytest.fixture
def run_training(make_trainer):
    def run(*arguments, **changes):
        trainer = make_trainer(*arguments, **changes)
        return trainer.encoder, trainer.run()

    return run


def test_pairs_and_tokens_per_second_are_printed(make_trainer, monkeypatch, capsys):
    """With a clock by which each step takes two seconds, and validations any time."""
    trainer = make_trainer(max_steps=5)
    clock = itertools.count(step=2)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    trainer.run()
    tokens = 0
    for batch in itertools.islice(trainer.pairs.batches(0), 5):
        tokens += sum(map(len, batch.queries + batch.passages))
    assert f"a second: 3 pairs, {tokens / 10:,.0f} tokens\n" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_bytes_in_bf16(run_training):
    chosen = {"precision": "bf16", "dropout": 0.1, "max_steps": 4}
    first, second = (weights_of(run_training(**chosen)[0]) for _ in range(2))
    assert not changed(first, second)


def test_epochs_are_steps_by_the_number_of_pairs(make_trainer):
    """18 pairs fill 3 batches of 6."""
    assert make_trainer(max_steps=None, epochs=4.0).max_steps == 12
    assert make_trainer(max_steps=None, epochs=0.5).max_steps == 2
    assert make_trainer(max_steps=None, epochs=4.0, accumulate=2).max_steps == 6


@pytest.mark.parametrize("steps", [0, 8])
def test_no_steps_or_harmful_ones_leave_the_encoder_as_it_is(make_encoder, run_training, steps):
    harm = lambda encoder, step: Validation(step, 0.0, -float(step))  # noqa: E731
    encoder, history = run_training(harm, max_steps=steps)
    assert len(history.steps) == steps
    assert [v.step for v in history.validations] == list(range(0, steps + 1, 4))
    assert history.best.step == 0
    assert not changed(weights_of(make_encoder()), weights_of(encoder))


def test_the_best_checkpoint_is_kept_and_patience_ends_the_training(run_training):
    scores = {0: 0.1, 4: 0.5, 8: 0.4, 12: 0.5, 16: 0.9}
    seen = {}

    def validate(encoder, step):
        seen[step] = weights_of(encoder)
        return Validation(step, 0.0, scores[step])

    encoder, history = run_training(validate, max_steps=20, patience=2)
    assert [v.step for v in history.validations] == [0, 4, 8, 12]
    assert history.best.step == 4
    assert not changed(weights_of(encoder), seen[4])
    assert changed(seen[4], seen[8])


def test_a_loss_that_is_no_number_stops_with_the_step(make_encoder, make_trainer):
    encoder = make_encoder()
    with torch.no_grad():
        encoder.passage.transformer.model.embeddings.LayerNorm.weight[0] = torch.nan
    trainer = make_trainer(lambda encoder, step: Validation(step, 0.0, 0.0), encoder)
    with pytest.raises(InputError, match=r"step 1: the loss is nan"):
        trainer.run()


def test_a_last_update_that_spoils_the_weights_is_an_error(make_trainer):
    """No step follows that would see it."""
    valid = lambda encoder, step: Validation(step, 0.0 if step == 0 else np.nan, 0.0)  # noqa: E731
    trainer = make_trainer(valid, max_steps=1, warmup_steps=0)
    with pytest.raises(InputError, match=r"step 1: the validation loss is nan; lower train\.lr"):
        trainer.run()


def test_separate_encoders_are_both_trained(make_encoder, make_trainer):
    encoder = make_encoder(tied=False)
    before = weights_of(encoder)
    make_trainer(encoder=encoder, max_steps=1).run()
    moved = [name.split(".")[0] for name in changed(before, weights_of(encoder))]
    assert min(moved.count("query"), moved.count("passage")) > 20


def test_one_batch_can_be_overfitted(run_training):
    _, history = run_training(max_steps=25, lr=1e-2, overfit_one_batch=True, patience=1)
    assert history.steps[0].loss > 0.5
    assert history.steps[-1].loss < 0.05
    assert len(history.steps) == 25


@pytest.mark.parametrize("margin", [None, 3.0])  # a margin that would leave no negative
def test_an_encoder_that_does_not_learn_one_batch_is_an_error(run_training, margin):
    changes = {"overfit_one_batch": True, "false_negative_margin": margin}
    with pytest.raises(InputError, match=r"overfit_one_batch: after 5 steps .* does not learn"):
        run_training(max_steps=5, lr=1e-7, **changes)


def test_what_cannot_be_trained_is_an_error_before_the_work(make_trainer):
    with pytest.raises(InputError, match=r"matryoshka: \[16, 32\] must be below .* 32 dim"):
        make_trainer(matryoshka=[16, 32])
    with pytest.raises(InputError, match=r"batch_size is 64, but there are only 18"):
        make_trainer(batch_size=64)
    with pytest.raises(InputError, match=r"12 steps of warm-up leave none of 12"):
        make_trainer(max_steps=12, warmup_steps=12)


@pytest.mark.parametrize(("activations", "gib"), [("auto", 3.0), (1.5, 1.5), (None, float("inf"))])
def test_activations_take_half_of_the_free_memory(make_trainer, monkeypatch, activations, gib):
    monkeypatch.setattr("dpr.training.trainer.free_memory", lambda: 6.0)
    trainer = dataclasses.replace(make_trainer(), activation_gib=activations)
    assert trainer.forward_options.budget.bytes == gib * 2**30
