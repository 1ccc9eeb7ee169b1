"""Engines: each gives torch's fp32 vectors within its own tolerance."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from ctranslate2 import converters
from helpers import PARAMS, POOLINGS, ROOT, SHORT, open_model
from transformers import AutoConfig, AutoModel, AutoTokenizer

from dpr.base.errors import InputError
from dpr.encoders import checkpoint, converted
from dpr.encoders.embedder import Embedder

CPU = torch.device("cpu")
TEXTS = ["heart", "the lung and the liver", "bone " * 40, ""]


@pytest.fixture
def open_embedder(tmp_path):
    def make(encoder, precision, **changes):
        if not (tmp_path / "encoder").exists():
            checkpoint.save(encoder, tmp_path / "encoder")
        options = PARAMS.encode.model_copy(update={"precision": precision} | changes)
        return Embedder(tmp_path / "encoder", options, CPU, tmp_path / "scratch")

    return make


@pytest.mark.parametrize(("pooling", "tied"), [*((p, True) for p in POOLINGS), ("pooler", False)])
def test_fp32_by_ctranslate2_is_that_of_torch(make_encoder, open_embedder, pooling, tied):
    encoder = make_encoder(pooling=pooling, tied=tied, similarity="dot")
    embedder = open_embedder(encoder, "fp32")
    assert (embedder.format, embedder.engine) == ("fp32", "ctranslate2")
    for role in ("query", "passage"):
        tokens = encoder.tokenize(TEXTS, role)
        expected = encoder.embed(tokens, role, 64, "fp32")
        np.testing.assert_allclose(embedder.embed(tokens, role), expected, atol=1e-5)


@pytest.mark.parametrize(("precision", "engine"), [("int8", "ctranslate2"), ("bf16", "torch")])
def test_half_and_int8_are_near_fp32_but_not_equal(make_encoder, open_embedder, precision, engine):
    encoder = make_encoder()
    embedder = open_embedder(encoder, precision)
    assert (embedder.format, embedder.engine) == (precision, engine)
    tokens = encoder.tokenize(TEXTS, "passage")
    exact, rounded = encoder.embed(tokens, "passage", 64, "fp32"), embedder.embed(tokens, "passage")
    assert rounded.dtype == np.float32
    assert 0.99 < (exact * rounded).sum(axis=1).min() < 0.999999
    if engine == "torch":
        assert next(embedder.encoder.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_threads_do_not_change_the_vectors(make_encoder, open_embedder, precision):
    encoder, vectors = make_encoder(), []
    tokens = encoder.tokenize([f"heart {i} " * (i % 9) for i in range(50)], "passage")
    for threads in (1, 2):
        torch.set_num_threads(threads)
        embedder = open_embedder(encoder, precision, batch_tokens=64)
        assert embedder.encoder.threads == threads
        vectors.append(embedder.embed(tokens, "passage"))
    np.testing.assert_array_equal(*vectors)


def test_a_conversion_is_made_once_and_opens_without_transformers(
    make_encoder, open_embedder, tmp_path, monkeypatch
):
    encoder, conversions, convert = make_encoder(), [], converters.TransformersConverter
    monkeypatch.setattr(
        *(converters, "TransformersConverter"),
        lambda source: conversions.append(source) or convert(source),
    )
    for precision in ("int8", "fp32", "int8"):
        vectors = open_embedder(encoder, precision).embed_texts(TEXTS, "query")
    assert len(conversions) == 1
    code = f"""
import sys, numpy as np, torch
from pathlib import Path
from dpr.encoders.embedder import Embedder
from dpr.settings import EncodeSettings
torch.set_num_threads(2)
options = EncodeSettings(window=9, batch_tokens=None, precision="int8", dtype="float32")
root = Path({str(tmp_path)!r})
embedder = Embedder(root / "encoder", options, torch.device("cpu"), root / "scratch")
np.save(root / "vectors.npy", embedder.embed_texts({TEXTS!r}, "query"))
slow = {{"transformers", "sentence_transformers", "faiss", "peft"}}
print([*slow & sys.modules.keys()])
"""
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert printed == "[]\n"
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), vectors)


@pytest.fixture
def make_of_type(tmp_path, tiny_model):
    """make_of_type(model_type, pooling) -> an encoder of random weights."""

    def make(model_type, pooling):
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        sizes |= {"vocab_size": len(tokenizer), "intermediate_size": 64}
        config = AutoConfig.for_model(model_type, **sizes)
        AutoModel.from_config(config).save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        return open_model(tmp_path / "model", pooling=pooling, **SHORT)

    return make


@pytest.mark.parametrize(
    ("has", "precision", "used"),
    [({}, "auto", "fp32"), ({"avx512_bf16": True}, "auto", "bf16"), ({}, "fp32", "fp32")],
)
def test_a_model_that_ctranslate2_does_not_support(
    make_of_type, open_embedder, capsys, monkeypatch, has, precision, used
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    mpnet = make_of_type("mpnet", "mean")
    embedder = open_embedder(mpnet, precision)
    assert (embedder.engine, embedder.format) == ("torch", used)
    printed = capsys.readouterr().err
    assert printed.count("CTranslate2 cannot run it") == 1
    assert printed.endswith(f"; encoding in {used} by torch\n")
    assert embedder.embed_texts(TEXTS, "query").shape == (4, 32)
    with pytest.raises(InputError, match=r"encode\.precision: int8: .* set fp32 or bf16"):
        open_embedder(mpnet, "int8")


def test_a_pooler_that_ctranslate2_leaves_out(make_of_type, open_embedder):
    encoder = make_of_type("xlm-roberta", "pooler")
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


def test_a_conversion_to_a_different_model_is_refused(make_encoder, open_embedder, monkeypatch):
    embed = converted.ConvertedEncoder.embed
    monkeypatch.setattr(
        converted.ConvertedEncoder, "embed", lambda *args: -np.ones_like(embed(*args))
    )
    with pytest.raises(InputError, match=r"int8: .*in fp32 its vectors have a cosine of"):
        open_embedder(make_encoder(), "int8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", r"encoder: cannot be loaded .* make it again"),
        ("model.bin", r"converted/.*: damaged .* delete the folder"),
    ],
)
def test_damage_is_named_and_not_taken_for_an_unknown_model(
    make_encoder, open_embedder, tmp_path, name, message
):
    encoder = make_encoder()
    if name == "model.bin":
        open_embedder(encoder, "int8")
    else:
        checkpoint.save(encoder, tmp_path / "encoder")
    (file,) = tmp_path.rglob(name)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=message):
        open_embedder(encoder, "int8")


def test_a_batch_that_does_not_fit_is_halved_or_named(make_encoder, open_embedder, capsys):
    encoder = make_encoder()
    tokens = encoder.tokenize(TEXTS, "passage")

    def with_room_for(limit, **changes):
        embedder = open_embedder(encoder, "bf16", **changes)
        embed = embedder.encoder.embed

        def embed_or_fail(tokens, role, batch_tokens, progress):
            if batch_tokens > limit:
                raise torch.OutOfMemoryError
            return embed(tokens, role, batch_tokens, progress=progress)

        embedder.encoder.embed = embed_or_fail
        return embedder

    expected = open_embedder(encoder, "bf16").embed(tokens, "passage")
    vectors = with_room_for(600).embed(tokens, "passage")
    np.testing.assert_allclose(vectors, expected, atol=0.02)
    assert capsys.readouterr().err.splitlines() == [
        f"a batch of {n} tokens does not fit in the memory of the device; continuing with {n // 2}"
        for n in (2048, 1024)
    ]
    with pytest.raises(InputError, match=r"encode\.batch_tokens: a batch of 900 tokens"):
        with_room_for(600, batch_tokens=900).embed(tokens, "query")
    with pytest.raises(InputError, match=r"encode\.batch_tokens: a batch of 32 tokens"):
        with_room_for(5).embed(tokens, "passage")
