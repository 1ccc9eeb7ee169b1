"""The running mean of the weights and the share of the initial ones, by their formulas."""

import numpy as np
import pytest
import torch
from torch import nn

from dpr.training.log import Validation
from dpr.training.snapshot import EMA, mix_weights


def test_frozen_weights_and_buffers_stay():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    module[0].bias.requires_grad_(False)
    mean = EMA(module, 0.9)
    before = {name: tensor.clone() for name, tensor in mean.weights.items()}
    with torch.no_grad():
        for tensor in [*module.parameters(), module[1].running_mean]:
            tensor.add_(1.0)
    mean.add(module, 1)
    changed = {name for name in before if not torch.equal(before[name], mean.weights[name])}
    assert changed == {"0.weight", "1.weight", "1.bias"}


def weights(encoder):
    return {n: p.detach().double().numpy().copy() for n, p in encoder.named_parameters()}


@pytest.mark.parametrize(
    ("decay", "share", "accumulate"), [(0.4, 0.0, 2), (0.4, 0.3, 1), (None, 0.3, 1)]
)
def test_a_training_validates_and_keeps_the_mean(make_trainer, decay, share, accumulate):
    """The decay warms up: 2/11, 3/12, 4/13 ..., at most `ema`. The steps are a plain training's."""
    seen = {}

    def validate(encoder, step):
        seen[step] = weights(encoder)
        return Validation(step, 0.0, float(step))

    chosen = {"max_steps": 6, "eval_every": 2, "dropout": 0.1, "accumulate": accumulate}
    expected_steps = make_trainer(**chosen).run().steps
    trainer = make_trainer(validate, ema=decay, initial_share=share, **chosen)
    means, update = [weights(trainer.encoder)], trainer.optimizer.step

    def update_and_average():
        update()
        step, new = len(means), weights(trainer.encoder)
        old = min(decay or 0.0, (1 + step) / (10 + step))
        means.append({n: old * means[-1][n] + (1 - old) * new[n] for n in new})

    trainer.optimizer.step = update_and_average
    assert trainer.run().steps == expected_steps
    assert len(means) == 7  # a mean per step, not per batch
    for step in (2, 4, 6):
        for name, value in seen[step].items():
            mixed = (1 - share) * means[step][name] + share * means[0][name]
            np.testing.assert_allclose(value, mixed, atol=2e-6)
    assert max(np.abs(seen[6][name] - means[0][name]).max() for name in seen[6]) > 1e-4
    for name, value in weights(trainer.encoder).items():
        np.testing.assert_array_equal(value, seen[6][name])


def test_the_mean_of_bfloat16_weights_follows_small_steps():
    """bfloat16 has 8 bits: a step of 1 % towards a weight would be rounded off."""
    module = nn.Linear(1, 1, bias=False).to(torch.bfloat16)
    module.weight.data.fill_(1.0)
    mean = EMA(module, 0.999)
    module.weight.data.fill_(1.25)
    for step in range(5000, 8000):
        mean.add(module, step)
    expected = 1.25 - 0.25 * np.prod([min(0.999, (1 + n) / (10 + n)) for n in range(5000, 8000)])
    assert mean.weights["weight"].float().item() == pytest.approx(expected, abs=5e-3)


def test_a_mixed_module_keeps_the_bytes_of_frozen_weights():
    """0.7 * -0.0 + 0.3 * -0.0 is 0.0 by lerp: an equal number in different bytes."""
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(-0.0)
    layer.weight.requires_grad_(False)
    mix_weights(layer, {name: p.detach().clone() for name, p in layer.named_parameters()}, 0.3)
    assert torch.signbit(layer.weight).all()
