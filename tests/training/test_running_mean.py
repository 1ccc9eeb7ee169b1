"""The running mean of the weights, against its formula written out."""

import numpy as np
import pytest
import torch
from torch import nn

from dpr.training.log import Validation
from dpr.training.snapshot import RunningMean, mix_weights


def test_a_few_steps_by_hand():
    """The decay warms up: 2/11, 3/12, 4/13 ..., at most the one that is asked for."""
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(8.0)
    mean = RunningMean(module, 0.28)
    expected = 8.0
    decays = [2 / 11, 3 / 12, 0.28, 0.28]
    for step, (decay, value) in enumerate(zip(decays, [4.0, -2.0, 1.0, 3.0], strict=True), 1):
        module.weight.data.fill_(value)
        mean.add(module, step)
        expected = decay * expected + (1 - decay) * value
        assert mean.weights["weight"].item() == pytest.approx(expected, rel=1e-6)
    assert module.weight.item() == 3.0


def test_what_is_not_trained_stays_as_it_is():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module[0].bias.requires_grad_(False)
    mean = RunningMean(module, 0.9)
    before = {name: tensor.clone() for name, tensor in mean.weights.items()}
    with torch.no_grad():
        for tensor in [*module.parameters(), module[1].running_mean]:
            tensor.add_(1.0)
    mean.add(module, 1)
    changed = {name for name in before if not torch.equal(before[name], mean.weights[name])}
    assert changed == {"0.weight", "1.weight", "1.bias"}


def weights(encoder):
    return {name: p.detach().double().numpy() for name, p in encoder.named_parameters()}


def averaged(trainer, decay):
    """Run; returns the mean of the weights after each step, written out, by step."""
    means, update = [weights(trainer.encoder)], trainer.optimizer.step
    means[0] = {name: value.copy() for name, value in means[0].items()}

    def noted():
        update()
        step = len(means)
        kept = min(decay, (1 + step) / (10 + step))
        now = weights(trainer.encoder)
        means.append({n: kept * means[-1][n] + (1 - kept) * now[n] for n in now})

    trainer.optimizer.step = noted
    history = trainer.run()
    return means, history


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_training_validates_and_keeps_the_mean(make_encoder, make_trainer, share):
    """Mixed with the initial weights, if a share of them is to stay; the steps are as without."""
    seen = {}

    def validate(encoder, step):
        seen[step] = {name: value.copy() for name, value in weights(encoder).items()}
        return Validation(step, 0.0, float(step))

    chosen = {"max_steps": 6, "eval_every": 2, "dropout": 0.1}
    expected_steps = make_trainer(**chosen).run().steps
    trainer = make_trainer(validate, ema=0.4, initial_share=share, **chosen)
    means, history = averaged(trainer, 0.4)
    assert history.steps == expected_steps
    initial, moved = weights(make_encoder()), 0.0
    for step in (2, 4, 6):
        for name, value in seen[step].items():
            mean = (1 - share) * means[step][name] + share * initial[name]
            np.testing.assert_allclose(value, mean, atol=2e-6)
            moved = max(moved, np.abs(value - initial[name]).max())
    assert moved > 1e-4
    for name, value in weights(trainer.encoder).items():
        np.testing.assert_array_equal(value, seen[6][name])


def test_with_several_batches_a_step_the_mean_counts_steps(make_trainer):
    trainer = make_trainer(ema=0.4, max_steps=3, accumulate=2)
    means, _ = averaged(trainer, 0.4)
    assert len(means) == 4
    for name, value in weights(trainer.encoder).items():
        np.testing.assert_allclose(value, means[-1][name], atol=2e-6)


def test_the_mean_of_bfloat16_weights_follows_small_steps():
    """bfloat16 has 8 bits: a step of 1 % towards a weight would be rounded off."""
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    module.weight.data.fill_(1.0)
    mean = RunningMean(module, 0.999)
    module.weight.data.fill_(1.25)
    for step in range(5000, 8000):
        mean.add(module, step)
    expected = 1.25 - 0.25 * np.prod([min(0.999, (1 + n) / (10 + n)) for n in range(5000, 8000)])
    assert mean.weights["weight"].float().item() == pytest.approx(expected, abs=5e-3)


def test_what_is_not_trained_keeps_its_bytes():
    """0.7 * -0.0 + 0.3 * -0.0 is 0.0 by lerp: an equal number, but another byte."""
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(-0.0)
    layer.weight.requires_grad_(False)
    initial = {name: p.detach().clone() for name, p in layer.named_parameters()}
    mix_weights(layer, initial, 0.3)
    assert torch.signbit(layer.weight).all()
