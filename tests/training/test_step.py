"""One update: its gradient, AdamW, the rate of the schedule and the temperature."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import DualEncoder


def plain_loss(encoder, batch, temperature):
    """The loss of a batch in plain PyTorch: a loop over its pairs, everything in one graph."""
    queries, passages = encoder(batch.queries, "query"), encoder(batch.passages, "passage")
    terms = []
    for row, own in batch.targets.pairs.tolist():
        columns = [own, *np.flatnonzero(~batch.targets.relevant[row].numpy())]
        scores = passages[columns] @ queries[row] / temperature
        terms.append(functional.cross_entropy(scores[None], torch.tensor([0])))
    return torch.stack(terms).mean()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_one_step_equals_plain_pytorch(make_encoder, make_trainer, accumulate):
    """AdamW's first update, by its formula, of one weight matrix and one bias."""
    trainer = make_trainer(max_steps=1, warmup_steps=0, max_grad_norm=0.5, accumulate=accumulate)
    encoder, chosen = trainer.encoder, trainer.settings
    before = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    batches = list(itertools.islice(trainer.pairs.batches(seed=3), accumulate))
    reference = make_encoder()
    losses = [plain_loss(reference, batch, chosen.temperature) for batch in batches]
    loss = sum(losses) / accumulate
    loss.backward()
    gradients = {n: p.grad for n, p in reference.named_parameters() if p.grad is not None}
    norm = torch.sqrt(sum((g**2).sum() for g in gradients.values()))
    step = trainer.step(1, batches)
    assert step.loss == pytest.approx(loss.item(), rel=1e-5)
    assert step.gradient_norm == pytest.approx(norm.item(), rel=1e-4)
    assert (step.step, step.lr, step.temperature) == (1, chosen.lr, chosen.temperature)
    after = dict(encoder.named_parameters())
    for end, decay in (("layer.0.output.dense.weight", 0.01), ("layer.0.output.dense.bias", 0.0)):
        name = next(n for n in before if n.startswith("passage") and n.endswith(end))
        g = gradients[name] * min(1.0, 0.5 / (norm.item() + 1e-6))
        update = g / (g.abs() + 1e-8)  # m / sqrt(v) at the first step
        expected = before[name] * (1 - chosen.lr * decay) - chosen.lr * update
        torch.testing.assert_close(after[name], expected, atol=2e-5, rtol=1e-4)


def test_three_steps_equal_torchs_own_adamw(make_encoder, make_trainer):
    """With a weight decay and a clipping that each show in the result."""
    chosen = {"max_steps": 3, "warmup_steps": 0, "schedule": "constant", "weight_decay": 50.0}
    trainer = make_trainer(max_grad_norm=0.5, **chosen)
    batches = list(itertools.islice(trainer.pairs.batches(seed=3), 3))
    names = [f"passage.backbone.encoder.layer.0.output.dense.{kind}" for kind in ("weight", "bias")]

    def reference(limit, decay):
        encoder = make_encoder()
        parameters = list(encoder.parameters())
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
                {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
            ],
            lr=trainer.settings.lr,
        )
        for batch in batches:
            optimizer.zero_grad()
            plain_loss(encoder, batch, trainer.settings.temperature).backward()
            torch.nn.utils.clip_grad_norm_(parameters, limit)
            optimizer.step()
        return [encoder.get_parameter(name).detach() for name in names]

    for number, batch in enumerate(batches, start=1):
        trainer.step(number, [batch])
    ours = [trainer.encoder.get_parameter(name).detach() for name in names]
    weight, bias = reference(0.5, 50.0)
    torch.testing.assert_close(ours, [weight, bias], atol=5e-5, rtol=1e-3)
    assert (reference(0.5, 0.0)[0] - weight).abs().max() > 1e-3
    assert (reference(1e9, 50.0)[1] - bias).abs().max() > 2e-4


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
    history = make_trainer(
        max_steps=3, warmup_steps=0, schedule="constant", temperature_lr=0.1
    ).run()
    logs = np.log([step.temperature for step in history.steps])
    assert abs(logs[1] - logs[0]) == pytest.approx(0.1, rel=1e-3)  # Adam's first step is its rate
    fixed = make_trainer(max_steps=3).run()
    assert {step.temperature for step in fixed.steps} == {0.05}


@pytest.mark.parametrize("kind", ["constant", "linear", "cosine", "cosine_restarts"])
def test_each_step_has_the_rate_of_its_schedule(make_trainer, kind):
    """transformers' rate, one step later; the optimizer uses the recorded one."""
    trainer = make_trainer(
        max_steps=12, schedule=kind, warmup_steps=3, cycles=2, min_lr_ratio=1e-9, patience=None
    )
    used, update = [], trainer.optimizer.step

    def noted():
        used.append({group["lr"] for group in trainer.optimizer.param_groups if group["params"]})
        return update()

    trainer.optimizer.step = noted
    history = trainer.run()
    theirs = transformers.get_scheduler(
        {"constant": "constant_with_warmup", "cosine_restarts": "cosine_with_restarts"}.get(
            kind, kind
        ),
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=trainer.settings.lr),
        num_warmup_steps=4,
        num_training_steps=12,
        scheduler_specific_kwargs={"num_cycles": 2} if kind == "cosine_restarts" else {},
    )
    expected = []
    for _ in range(12):
        theirs.optimizer.step()
        theirs.step()
        expected.append(theirs.get_last_lr()[0])
    assert [step.lr for step in history.steps] == pytest.approx(expected, abs=1e-11)
    assert used == [{step.lr} for step in history.steps]


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
