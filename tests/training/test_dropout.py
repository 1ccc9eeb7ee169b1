"""A rate of dropout is that of every family, in whichever form it keeps its own."""

import json

import pytest
import torch
from family_helpers import FAMILIES, make_tokenizer
from helpers import settings
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import AutoConfig, AutoModel, FalconConfig, FalconModel

from dpr.base.errors import InputError
from dpr.encoders.dual_encoder import TextEncoder
from dpr.similarity import SIMILARITIES
from dpr.training import parameters
from dpr.training.parameters import set_dropout

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
SMALL |= {"intermediate_size": 64, "pad_token_id": 1, "max_position_embeddings": 128}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
BART = {"d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 64, "decoder_layers": 2}
BART |= {"decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
OTHERS = {
    "bert": {},
    "roberta": {},
    "mt5": T5,
    "umt5": T5,
    "bart": BART,
    "longformer": {"attention_window": 8},
    "xlm": {"emb_dim": 32, "n_layers": 2, "n_heads": 4},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
}
CONFIGS = {name: family.config for name, family in FAMILIES.items()} | OTHERS


def transformer(name, folder, rate=0.3):
    """A tiny model of a family, with that rate under each name of a rate in its config."""
    config = AutoConfig.for_model(name, **(SMALL | CONFIGS[name]))
    for key, value in vars(config).items():
        if "drop" in key and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, key, rate)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    make_tokenizer("bert").save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    modules = [Transformer(str(folder)), Pooling(32)]
    return TextEncoder(modules, SIMILARITIES["cosine"]).train()


def vectors(encoder):
    ids = torch.arange(2, 26)[None]
    return encoder({"input_ids": ids, "attention_mask": torch.ones_like(ids)})


@pytest.mark.parametrize("name", CONFIGS)
def test_a_rate_takes_the_place_of_the_family_s_own(name, tmp_path):
    encoder = transformer(name, tmp_path / "random")
    assert not torch.equal(vectors(encoder), vectors(encoder))
    set_dropout(encoder, 0.0)
    assert encoder.training
    one, two = vectors(encoder), vectors(encoder)
    assert torch.equal(one, two)
    torch.testing.assert_close(vectors(encoder.eval()), one)

    encoder = transformer(name, tmp_path / "without", rate=0.0)
    assert torch.equal(vectors(encoder), vectors(encoder))
    set_dropout(encoder, 0.3)
    assert not torch.equal(vectors(encoder), vectors(encoder))
    layers = {m.layerdrop for m in encoder.modules() if hasattr(m, "layerdrop")}
    assert layers <= {0.0}  # no whole layer is skipped


def test_a_model_that_stays_random_is_refused(make_encoder):
    encoder = make_encoder()
    config = FalconConfig(**SMALL, attention_dropout=0.3, hidden_dropout=0.3)
    encoder.passage.transformer.model = FalconModel(config)
    with pytest.raises(InputError, match=r"train\.dropout: FalconModel stays random although"):
        parameters.prepare(encoder, settings(dropout=0.0))
    parameters.prepare(encoder, settings(dropout=None))
