"""Frozen layers, in models of each family: the gradients above them are as without freezing."""

import pytest
import torch
from family_helpers import FAMILIES, make_folder
from helpers import open_model, settings
from training_helpers import changed, gradients_of, mpnet, weights_of
from transformers import AlbertConfig, AlbertModel

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
    whole, upper = (gradients(open_model(tmp_path, **lengths), frozen) for frozen in (0, 0.5))
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
    trainer = make_trainer(max_steps=2, freeze_layers=0.5, lora_rank=lora_rank)
    trainer.run()
    moved = changed(before, weights_of(trainer.encoder))
    assert any("layer.1." in name for name in moved)
    assert not any("layer.0." in name or "embeddings" in name for name in moved)


def test_a_single_layer_stays_trained(make_encoder, make_trainer):
    trainer = make_trainer(encoder=mpnet(make_encoder()), freeze_layers=0.9)
    assert trainer.counts == make_trainer(encoder=mpnet(make_encoder()), freeze_layers=0).counts


def test_layers_that_share_their_weights_are_refused(make_encoder, make_trainer):
    encoder = make_encoder()
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = AlbertConfig(num_hidden_layers=2, vocab_size=99, embedding_size=8, **sizes)
    encoder.passage.transformer.model = AlbertModel(config)
    with pytest.raises(InputError, match=r"freeze_layers: 0\.5, but AlbertModel has no list of"):
        make_trainer(encoder=encoder, freeze_layers=0.5)
