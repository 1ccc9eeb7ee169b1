"""The training loop: updates, checkpoints, patience, and the same bytes again."""

import numpy as np
import pytest
import torch
from helpers import settings

from dpr.errors import InputError
from dpr.training import trainer
from dpr.training.loss import in_batch_loss
from dpr.training.validation import Validation


def run_training(make_encoder, pairs, validate=None, **changes):
    encoder, chosen = make_encoder(), settings(**changes)
    validate = validate or (lambda encoder, step: Validation(step, 0.0, float(step)))
    history = trainer.train(encoder, pairs.batches(chosen.batch_size, 0), validate, chosen)
    return encoder, history


def test_the_loss_falls(make_encoder, pairs):
    _, history = run_training(make_encoder, pairs, max_steps=40)
    losses_ = [step.loss for step in history.steps]
    assert np.mean(losses_[-5:]) < 0.5 * np.mean(losses_[:5])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bytes(make_encoder, pairs, precision):
    def weights():
        torch.manual_seed(3)
        encoder, _ = run_training(make_encoder, pairs, precision=precision, dropout=0.1)
        return encoder.state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_one_step_equals_plain_pytorch(make_encoder, pairs):
    """AdamW's first update, by its formula, of one weight matrix and one bias."""
    chosen = settings(max_steps=1, warmup_steps=0, dropout=None, max_grad_norm=0.5)
    encoder = make_encoder()
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    batch = pairs.batch(pairs.pairs[:6])
    reference = make_encoder()
    loss = in_batch_loss(
        reference(batch.queries, "query"),
        reference(batch.passages, "passage"),
        batch.not_negative,
        reference.similarity,
        chosen.temperature,
    )
    loss.backward()
    gradients = {n: p.grad for n, p in reference.named_parameters() if p.grad is not None}
    norm = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
    optimizer = torch.optim.AdamW(trainer.parameter_groups(encoder, 0.01), lr=chosen.lr)
    trainer.set_dropout(encoder, 0.0)
    step_loss, step_norm = trainer.take_step(encoder, batch, optimizer, chosen)
    assert step_loss == pytest.approx(loss.item(), rel=1e-5)
    assert step_norm == pytest.approx(norm.item(), rel=1e-4)
    after = dict(encoder.named_parameters())
    for end, decay in (("layer.0.output.dense.weight", 0.01), ("layer.0.output.dense.bias", 0.0)):
        name = next(n for n in before if n.startswith("passage") and n.endswith(end))
        g = gradients[name] * min(1.0, 0.5 / (norm.item() + 1e-6))
        update = g / (g.abs() + 1e-8)  # m / sqrt(v) at the first step
        expected = before[name] * (1 - chosen.lr * decay) - chosen.lr * update
        torch.testing.assert_close(after[name], expected, atol=2e-5, rtol=1e-4)


def test_no_steps_leave_the_encoder_as_it_is(make_encoder, pairs):
    encoder, history = run_training(make_encoder, pairs, max_steps=0)
    assert history.steps == []
    assert [v.step for v in history.validations] == [0]
    untouched = make_encoder().state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in encoder.state_dict().items())


def test_the_best_checkpoint_is_kept_and_patience_ends_the_training(make_encoder, pairs):
    scores = {0: 0.1, 4: 0.5, 8: 0.4, 12: 0.5, 16: 0.9}
    seen = {}

    def validate(encoder, step):
        seen[step] = {name: v.clone() for name, v in encoder.state_dict().items()}
        return Validation(step, 0.0, scores[step])

    encoder, history = run_training(make_encoder, pairs, validate, max_steps=20, patience=2)
    assert [v.step for v in history.validations] == [0, 4, 8, 12]
    assert history.best.step == 4
    assert all(torch.equal(v, seen[4][name]) for name, v in encoder.state_dict().items())
    assert not all(torch.equal(v, seen[8][name]) for name, v in encoder.state_dict().items())


def test_a_training_that_only_harms_leaves_the_encoder_as_it_came(make_encoder, pairs):
    encoder, history = run_training(
        make_encoder, pairs, lambda encoder, step: Validation(step, 0.0, -float(step))
    )
    assert history.best.step == 0
    untouched = make_encoder().state_dict()
    assert all(torch.equal(value, untouched[name]) for name, value in encoder.state_dict().items())


def test_a_loss_that_is_no_number_stops_with_the_step(make_encoder, pairs):
    encoder = make_encoder()
    with torch.no_grad():
        encoder.passage.backbone.embeddings.LayerNorm.weight[0] = torch.nan
    validate = lambda encoder, step: Validation(step, 0.0, 0.0)  # noqa: E731
    with pytest.raises(InputError, match=r"step 1: the loss is nan"):
        trainer.train(encoder, pairs.batches(6, 0), validate, settings())


def test_separate_encoders_are_both_trained(make_encoder, pairs):
    encoder = make_encoder(tied=False)
    before = {name: v.clone() for name, v in encoder.state_dict().items()}
    trainer.train(
        encoder,
        pairs.batches(6, 0),
        lambda encoder, step: Validation(step, 0.0, float(step)),
        settings(max_steps=1),
    )
    for role in ("query", "passage"):
        changed = [
            name
            for name, value in encoder.state_dict().items()
            if name.startswith(role) and not torch.equal(value, before[name])
        ]
        assert len(changed) > 20


def test_dropout_is_set_or_left():
    layer = torch.nn.Sequential(torch.nn.Dropout(0.3))
    trainer.set_dropout(layer, None)
    assert layer[0].p == 0.3
    trainer.set_dropout(layer, 0.0)
    assert layer[0].p == 0.0
