"""Engines: each gives torch's fp32 vectors within its own tolerance."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from ctranslate2 import converters
from helpers import PARAMS, POOLINGS, ROOT
from transformers import (
    AutoTokenizer,
    MPNetConfig,
    MPNetModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from dpr.base.errors import InputError
from dpr.encoders import checkpoint, converted
from dpr.encoders.embedder import Embedder
from dpr.encoders.pretrained import pretrained

CPU = torch.device("cpu")
TEXTS = ["heart", "the lung and the liver", "bone " * 40, ""]


@pytest.fixture
def open_embedder(tmp_path):
    def make(encoder, precision, threads=2, **changes):
        torch.set_num_threads(threads)
        if not (tmp_path / "encoder").exists():
            checkpoint.save(encoder, tmp_path / "encoder")
        options = PARAMS.encode.model_copy(update={"precision": precision} | changes)
        return Embedder(tmp_path / "encoder", options, CPU, tmp_path / "scratch")

    return make


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("tied", [True, False])
def test_fp32_by_ctranslate2_is_that_of_torch(make_encoder, open_embedder, pooling, tied):
    encoder = make_encoder(pooling=pooling, tied=tied, similarity="dot")
    embedder = open_embedder(encoder, "fp32")
    assert (embedder.format, embedder.engine) == ("fp32", "ctranslate2")
    for role in ("query", "passage"):
        tokens = encoder.tokenize(TEXTS, role)
        expected = encoder.embed(tokens, role, 64, "fp32")
        np.testing.assert_allclose(embedder.embed(tokens, role), expected, atol=1e-5)


def test_int8_is_near_fp32_but_not_equal(make_encoder, open_embedder):
    encoder = make_encoder()
    embedder = open_embedder(encoder, "int8")
    tokens = encoder.tokenize(TEXTS, "passage")
    exact, rounded = encoder.embed(tokens, "passage", 64, "fp32"), embedder.embed(tokens, "passage")
    assert 0.99 < (exact * rounded).sum(axis=1).min() < 0.999999


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_threads_do_not_change_the_vectors(make_encoder, open_embedder, precision):
    encoder = make_encoder()
    tokens = encoder.tokenize([f"heart {i} " * (i % 9) for i in range(50)], "passage")
    one, two = (
        open_embedder(encoder, precision, threads, batch_tokens=64).embed(tokens, "passage")
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


def test_bf16_is_computed_by_torch(make_encoder, open_embedder):
    encoder = make_encoder()
    embedder = open_embedder(encoder, "bf16")
    assert (embedder.format, embedder.engine) == ("bf16", "torch")
    assert next(embedder.encoder.parameters()).dtype == torch.bfloat16
    tokens = encoder.tokenize(TEXTS, "query")
    exact, rounded = encoder.embed(tokens, "query", 64, "fp32"), embedder.embed(tokens, "query")
    assert rounded.dtype == np.float32
    assert 0.99 < (exact * rounded).sum(axis=1).min() < 0.999999


def test_a_conversion_is_made_once_for_equal_weights(make_encoder, open_embedder, monkeypatch):
    first, made = make_encoder(), []
    convert = converters.TransformersConverter
    monkeypatch.setattr(
        converters, "TransformersConverter", lambda source: made.append(source) or convert(source)
    )
    for _ in range(2):
        open_embedder(first, "int8")
    open_embedder(first, "fp32")
    assert len(made) == 1


def test_what_is_converted_opens_without_transformers(make_encoder, open_embedder, tmp_path):
    vectors = open_embedder(make_encoder(), "int8").embed_texts(TEXTS, "query")
    code = f"""
import sys, numpy as np, torch
from pathlib import Path
from dpr.encoders.embedder import Embedder
from dpr.settings import EncodeSettings
options = EncodeSettings(window=9, batch_tokens=None, precision="int8", dtype="float32")
root = Path({str(tmp_path)!r})
embedder = Embedder(root / "encoder", options, torch.device("cpu"), root / "scratch")
np.save(root / "vectors.npy", embedder.embed_texts({TEXTS!r}, "query"))
print([name for name in ("transformers", "faiss", "peft") if name in sys.modules])
"""
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert printed == "[]\n"
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), vectors)


@pytest.fixture
def unknown(tmp_path, make_encoder, tiny_model):
    """An MPNet, which CTranslate2 does not know."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MPNetConfig(vocab_size=len(tokenizer), intermediate_size=64, **sizes)
    MPNetModel(config).save_pretrained(tmp_path / "mpnet")
    tokenizer.save_pretrained(tmp_path / "mpnet")
    return pretrained(str(tmp_path / "mpnet"), make_encoder().spec)


@pytest.mark.parametrize(
    ("has", "precision", "used"),
    [({}, "auto", "fp32"), ({"avx512_bf16": True}, "auto", "bf16"), ({}, "fp32", "fp32")],
)
def test_a_model_that_the_library_does_not_know(
    unknown, open_embedder, capsys, monkeypatch, has, precision, used
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    embedder = open_embedder(unknown, precision)
    assert (embedder.engine, embedder.format) == ("torch", used)
    printed = capsys.readouterr().err
    assert printed.count("CTranslate2 cannot run it") == 1
    assert printed.endswith(f"; encoding in {used} by torch\n")
    assert embedder.embed_texts(TEXTS, "query").shape == (4, 32)
    with pytest.raises(InputError, match=r"encode\.precision: int8: .* set fp32 or bf16"):
        open_embedder(unknown, "int8")


def test_a_pooler_that_the_library_leaves_out(make_encoder, open_embedder, tiny_model, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = XLMRobertaConfig(vocab_size=len(tokenizer), intermediate_size=64, **sizes)
    XLMRobertaModel(config).save_pretrained(tmp_path / "xlm-r")
    tokenizer.save_pretrained(tmp_path / "xlm-r")
    encoder = pretrained(str(tmp_path / "xlm-r"), make_encoder(pooling="pooler").spec)
    with pytest.raises(InputError, match=r"int8: .*it converts the model without its pooler"):
        open_embedder(encoder, "int8")
    assert open_embedder(encoder, "fp32").engine == "torch"


def test_an_encoder_that_int8_cannot_hold(make_encoder, open_embedder, capsys, monkeypatch):
    monkeypatch.setitem(converted.LEAST_COSINE, "int8", 1.1)
    encoder = make_encoder()
    with pytest.raises(InputError, match=r"in int8 its vectors have a cosine of"):
        open_embedder(encoder, "int8")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    embedder = open_embedder(encoder, "auto")
    assert (embedder.engine, embedder.format) == ("ctranslate2", "fp32")
    assert capsys.readouterr().err.endswith("encoding in fp32 by ctranslate2\n")


def test_a_conversion_with_other_vectors_is_refused(make_encoder, open_embedder, monkeypatch):
    """The library would compute another model than torch."""
    forward = converted.ConvertedEncoder.embed
    monkeypatch.setattr(
        converted.ConvertedEncoder, "embed", lambda *args: -np.ones_like(forward(*args))
    )
    with pytest.raises(InputError, match=r"int8: .*in fp32 its vectors have a cosine of"):
        open_embedder(make_encoder(), "int8")


def test_a_damaged_encoder_is_named_and_not_taken_for_an_unknown_one(
    make_encoder, open_embedder, tmp_path
):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    file = tmp_path / "encoder" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"encoder: an incomplete encoder .* make it again"):
        open_embedder(None, "int8")


def test_a_damaged_conversion_is_named(make_encoder, open_embedder, tmp_path):
    open_embedder(make_encoder(), "int8")
    [model] = tmp_path.rglob("model.bin")
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"converted/.*: damaged .* delete the folder"):
        open_embedder(None, "int8")


def test_a_batch_that_does_not_fit_is_halved_or_named(make_encoder, open_embedder, capsys):
    encoder = make_encoder()
    tokens = encoder.tokenize(TEXTS, "passage")

    def with_room_for(embedder, limit):
        embed = embedder.encoder.embed

        def embed_or_fail(tokens, role, batch_tokens, progress):
            if batch_tokens > limit:
                raise torch.OutOfMemoryError
            return embed(tokens, role, batch_tokens, progress=progress)

        embedder.encoder.embed = embed_or_fail
        return embedder

    expected = open_embedder(encoder, "bf16").embed(tokens, "passage")
    found = with_room_for(open_embedder(encoder, "bf16"), 600).embed(tokens, "passage")
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert capsys.readouterr().err.splitlines() == [
        f"a batch of {n} tokens does not fit in the memory of the device; continuing with {n // 2}"
        for n in (2048, 1024)
    ]
    with pytest.raises(InputError, match=r"encode\.batch_tokens: a batch of 900 tokens"):
        with_room_for(open_embedder(encoder, "bf16", batch_tokens=900), 600).embed(tokens, "query")
    with pytest.raises(InputError, match=r"encode\.batch_tokens: a batch of 32 tokens"):
        with_room_for(open_embedder(encoder, "bf16"), 5).embed(tokens, "passage")
