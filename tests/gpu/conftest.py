"""`make gpu` needs torch, transformers, sentence-transformers and safetensors, and from
requirements.txt filelock, ir_measures, loky, pydantic, pytest, ruamel.yaml and tqdm.

A GPU machine needs neither the collection nor the packaged encoder.
"""

import pytest
import torch
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from dpr.base import runtime
from dpr.encoders.checkpoint import assemble
from dpr.encoders.spec import EncoderSpec, Side

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
        modules = [Transformer(str(tmp_path / "model")), Pooling(64, pooling)]
        spec = EncoderSpec(similarity, True, Side(16), Side(48))
        return assemble({"query": modules, "passage": modules}, spec).eval()

    return make
