"""Gradient checkpointing: less memory, the same gradients."""

import itertools

import pytest
import torch
from training_helpers import gradients_of, mpnet, require_close

from dpr.base.errors import InputError


def first_step(trainer, seed=1):
    (batch,) = itertools.islice(trainer.pairs.batches(seed=3), 1)
    torch.manual_seed(seed)
    return trainer.step(1, [batch]), gradients_of(trainer.encoder)


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.2, "chunk_size": 2},
        {"dropout": 0.2, "freeze_embeddings": True},
        {"dropout": 0.0},
        {"lora_rank": 4},
    ],
)
def test_the_gradients_are_the_same(make_trainer, changes):
    chosen = {"max_grad_norm": 1e9, **changes}
    step, plain = first_step(make_trainer(**chosen))
    checkpointed_step, checkpointed = first_step(
        make_trainer(gradient_checkpointing=True, **chosen)
    )
    assert checkpointed_step.loss == pytest.approx(step.loss, rel=1e-6)
    require_close(checkpointed, plain, atol=1e-6)
    assert max(gradient.abs().max() for gradient in plain.values()) > 1e-3
    if changes.get("dropout"):  # the seed is what makes them equal
        assert abs(first_step(make_trainer(**chosen), seed=2)[0].loss - step.loss) > 1e-4


@pytest.mark.parametrize("roles", ["both", "query"])
def test_activations_are_computed_twice(make_encoder, make_trainer, make_query_side, roles):
    """By each trained encoder: once forward, once for its gradient."""
    for checkpointing, times in ((False, 1), (True, 2)):
        chosen, calls = {"gradient_checkpointing": checkpointing}, []
        if roles == "query":
            trainer = make_query_side(**chosen)
        else:
            trainer = make_trainer(encoder=make_encoder(tied=False), **chosen)
        for role in ("query", "passage"):
            attention = getattr(trainer.encoder, role).transformer.model.encoder.layer[0].attention
            attention.register_forward_hook(lambda *_, calls=calls, role=role: calls.append(role))
        first_step(trainer)
        assert calls.count("query") == times
        assert calls.count("passage") == (times if roles == "both" else 0)


def test_a_model_that_cannot_is_an_error(make_encoder, make_trainer):
    with pytest.raises(InputError, match=r"params\.yaml: train\.gradient_checkpointing: .*MPNet"):
        make_trainer(encoder=mpnet(make_encoder()), gradient_checkpointing=True)
