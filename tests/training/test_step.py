"""One update: its gradient, AdamW, the rate of the schedule and the temperature."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder
from dpr.training import schedule


def plain_loss(encoder, batch, temperature):
    """The loss of a batch in plain PyTorch: a loop over its pairs, everything in one graph."""
    queries, passages = encoder(batch.queries, "query"), encoder(batch.passages, "passage")
    terms = []
    for row, positive in batch.targets.pairs.tolist():
        columns = [positive, *np.flatnonzero(~batch.targets.relevant[row].numpy())]
        scores = passages[columns] @ queries[row] / temperature
        terms.append(functional.cross_entropy(scores[None], torch.tensor([0])))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_three_steps_equal_plain_pytorch(make_encoder, make_trainer, accumulate):
    """With a weight decay and a clipping that each show in the result."""
    chosen = {"max_steps": 3, "warmup_steps": 0, "schedule": "constant", "weight_decay": 50.0}
    trainer = make_trainer(max_grad_norm=0.5, accumulate=accumulate, **chosen)
    stream = trainer.pairs.batches(seed=3)
    batches = [list(itertools.islice(stream, accumulate)) for _ in range(3)]
    names = [
        f"passage.layers.0.model.encoder.layer.0.output.dense.{kind}" for kind in ("weight", "bias")
    ]

    def reference(limit, decay):
        encoder, records = make_encoder(), []
        parameters = list(encoder.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=trainer.settings.lr)
        for of_step in batches:
            optimizer.zero_grad()
            losses = [plain_loss(encoder, b, trainer.settings.temperature) for b in of_step]
            loss = torch.stack(losses).mean()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
            optimizer.step()
            records.append((loss.item(), norm.item()))
        return [encoder.get_parameter(name).detach() for name in names], records

    steps = [trainer.step(number, of_step) for number, of_step in enumerate(batches, start=1)]
    trained = [trainer.encoder.get_parameter(name).detach() for name in names]
    (weight, bias), records = reference(0.5, 50.0)
    torch.testing.assert_close(trained, [weight, bias], atol=5e-5, rtol=1e-3)
    for number, (step, (loss, norm)) in enumerate(zip(steps, records, strict=True), start=1):
        assert (step.loss, step.gradient_norm) == pytest.approx((loss, norm), rel=1e-3)
        assert (step.step, step.lr, step.temperature) == (number, trainer.settings.lr, 0.05)
    assert (reference(0.5, 0.0)[0][0] - weight).abs().max() > 1e-3
    if accumulate == 1:  # the norm of a mean gradient is hardly clipped
        assert (reference(1e9, 50.0)[0][1] - bias).abs().max() > 2e-4


def test_a_step_in_chunks_equals_one_without(make_trainer, monkeypatch):
    """`train.chunk_size` reaches the forward passes, and changes nothing else."""
    sizes, forward = [], DualEncoder.forward

    def counted(encoder, tokens, role):
        sizes.append(len(tokens))
        return forward(encoder, tokens, role)

    monkeypatch.setattr(DualEncoder, "forward", counted)
    steps, largest = [], []
    for chunk_size in (None, 2):
        trainer = make_trainer(chunk_size=chunk_size, max_steps=1, warmup_steps=0)
        (batch,) = itertools.islice(trainer.pairs.batches(seed=3), 1)
        sizes.clear()
        steps.append(trainer.step(1, [batch]))
        largest.append(max(sizes))
    assert largest == [6, 2]
    assert steps[1] == pytest.approx(steps[0], rel=1e-4)


def test_a_learned_temperature_moves_at_its_own_rate(make_trainer):
    chosen = {"max_steps": 3, "warmup_steps": 0, "schedule": "constant", "temperature_lr": 0.1}
    logs = np.log([step.temperature for step in make_trainer(**chosen).run().steps])
    assert abs(logs[1] - logs[0]) == pytest.approx(0.1, rel=1e-3)  # Adam's first step is its rate
    fixed = make_trainer(max_steps=3).run()
    assert {step.temperature for step in fixed.steps} == {0.05}


def test_each_step_has_the_rate_of_its_schedule(make_trainer):
    trainer = make_trainer(max_steps=6, schedule="cosine", warmup_steps=3, patience=None)
    used, update = [], trainer.optimizer.step

    def update_and_record():
        used.append({group["lr"] for group in trainer.optimizer.param_groups if group["params"]})
        return update()

    trainer.optimizer.step = update_and_record
    rates = [step.lr for step in trainer.run().steps]
    shares = [schedule.lr_factor(trainer.settings, step, 3, 6) for step in range(6)]
    assert rates == pytest.approx([trainer.settings.lr * share for share in shares])
    assert used == [{rate} for rate in rates]


def test_a_learned_temperature_comes_back_from_its_floor(make_trainer):
    trainer = make_trainer(temperature=0.01, temperature_lr=0.5, max_steps=2, warmup_steps=0)
    trainer.loss.log_temperature.data.fill_(-50.0)
    trainer.loss.limit_temperature()
    assert trainer.loss.temperature.item() == pytest.approx(0.01)
    (batch,) = itertools.islice(trainer.pairs.batches(0), 1)
    trainer.step(1, [batch])
    assert trainer.loss.temperature.item() > 0.011


def test_a_batch_that_does_not_fit_in_memory_is_named(make_trainer, monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError

    for chunk_size, advice in ((None, 16), (4, 2), (1, 1)):
        trainer = make_trainer(chunk_size=chunk_size)
        monkeypatch.setattr(trainer, "_forward_backward", full)
        with pytest.raises(InputError, match=rf"step 1: .* train\.chunk_size={advice},"):
            trainer.run()
