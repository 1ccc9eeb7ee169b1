"""Frozen layers, in models of each family: the gradients above them are as without freezing."""

import pytest
import torch
from family_helpers import FAMILIES, make_folder
from helpers import open_model, settings
from training_helpers import changed, gradients_of, mpnet, weights_of

from dpr.base.errors import InputError
from dpr.training import parameters


def gradients(encoder, freeze_layers):
    parameters.prepare(encoder, settings(freeze_layers=freeze_layers))
    tokens = encoder.tokenize(["heart", "the liver"], "passage")
    encoder(tokens, "passage").square()[:, ::2].sum().backward()
    return gradients_of(encoder.passage)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_above_are_the_same_and_below_there_are_none(family, tmp_path):
    make_folder(tmp_path, family)
    lengths = {"query_max_length": 16, "passage_max_length": 32}
    whole, upper = (gradients(open_model(tmp_path, **lengths), frozen) for frozen in (0, 1))
    assert upper.keys() < whole.keys()
    for name, gradient in upper.items():
        torch.testing.assert_close(gradient, whole[name], rtol=0, atol=0)
    below = whole.keys() - upper.keys()
    assert any("emb" in name or "wte" in name or "shared" in name for name in below)
    for layer, here in (("0", below), ("1", upper.keys())):
        names = {name for name in whole if number(name) == layer}
        assert names and names <= here


def number(name):
    """Of the layer, in the name of a parameter: the first number after `layers.0`, the module."""
    return next((part for part in name.split(".")[2:] if part.isdigit()), None)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_frozen_layers_stay(make_encoder, make_trainer, lora_rank):
    before = weights_of(make_encoder())
    trainer = make_trainer(max_steps=2, freeze_layers=1, lora_rank=lora_rank)
    trainer.run()
    moved = changed(before, weights_of(trainer.encoder))
    assert any("layer.1." in name for name in moved)
    assert not any("layer.0." in name or "embeddings" in name for name in moved)


def test_a_model_with_fewer_layers_says_so(make_encoder, make_trainer):
    with pytest.raises(InputError, match="freeze_layers: 1, but MPNetModel has 1 layers"):
        make_trainer(encoder=mpnet(make_encoder()), freeze_layers=1)
