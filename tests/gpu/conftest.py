"""`make gpu` needs torch, transformers, sentence-transformers and safetensors, and from
requirements.txt filelock, ir_measures, loky, pydantic, pytest, ruamel.yaml and tqdm.

A GPU machine needs neither the collection nor the packaged encoder.
"""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from dpr.base import runtime
from dpr.encoders.pretrained import pretrained
from dpr.settings import load_settings

PARAMS = load_settings(Path(__file__).parents[2] / "params.yaml")
WORDS = [f"word{i}" for i in range(200)]


def pytest_addoption(parser):
    parser.addoption("--device", default="cpu", choices=["cpu", "cuda"], help="the device to test")


@pytest.fixture
def device(request):
    runtime.set_up(threads=1, seed=0)
    return torch.device(request.config.getoption("--device"))


@pytest.fixture
def make_encoder(tmp_path):
    """make_encoder(pooling=..., similarity=..., dropout=...) -> an encoder of random weights."""

    def make(dropout=0.0, pooling="mean", similarity="cosine"):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
        inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        inner.pre_tokenizer = pre_tokenizers.Whitespace()
        inner.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]")
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=64,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        BertModel(config).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        changes = {"name": str(tmp_path / "model"), "pooling": pooling}
        changes |= {"query_max_length": 16, "passage_max_length": 48}
        return pretrained(PARAMS.model.model_copy(update=changes), similarity)[0].eval()

    return make
