"""Families of models: vectors beside those of sentence-transformers, and a step of training."""

import json

import numpy as np
import pytest
import torch
from family_helpers import (
    CONVERTED,
    FAMILIES,
    POOLING,
    TEXTS,
    make_folder,
    of_sentence_transformers,
    spec_of,
    vectors,
)
from helpers import PARAMS, settings
from sentence_transformers import SentenceTransformer

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.encoders.pretrained import pretrained
from dpr.training import parameters


def opened(folder, precision):
    options = PARAMS.encode.model_copy(update={"precision": precision})
    return Embedder(folder, options, torch.device("cpu"), folder.parent / "scratch")


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    (tmp_path / "model").mkdir()
    return request.param, make_folder(tmp_path / "model", request.param)


def test_vectors_are_those_of_sentence_transformers_and_are_kept(family, tmp_path):
    name, folder = family
    encoder = pretrained(folder, spec_of(name)).eval()
    assert encoder.dimension == 32
    ours = vectors(encoder)
    theirs = of_sentence_transformers(folder, POOLING[name])
    np.testing.assert_allclose(ours, theirs.encode(TEXTS), atol=1e-5)
    checkpoint.save(encoder, tmp_path / "saved")
    np.testing.assert_array_equal(vectors(checkpoint.load(tmp_path / "saved")), ours)
    again = pretrained(str(tmp_path / "saved"), spec_of(name)).eval()
    np.testing.assert_array_equal(vectors(again), ours)
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(saved.encode_document(TEXTS), ours, atol=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 0.01  # they say something


def test_weights_in_half_precision(family, tmp_path):
    """Rounded once: the angles of rotary embeddings, among others, stay in fp32."""
    name, folder = family
    spec = spec_of(name, passage_max_length=300)
    encoder = pretrained(folder, spec, dtype="bfloat16").eval()
    assert {p.dtype for p in encoder.parameters()} == {torch.bfloat16}
    checkpoint.save(encoder, tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["dtype"] == "bfloat16"
    loaded = checkpoint.load(tmp_path / "saved")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    tokens = encoder.tokenize(["heart and lung " * 90], "passage")
    ours = encoder.embed(tokens, "passage", 300)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(loaded.embed(tokens, "passage", 300), ours)
    half = opened(tmp_path / "saved", "bf16").encoder
    np.testing.assert_array_equal(half.embed(tokens, "passage", 300), ours)
    exact = opened(tmp_path / "saved", "fp32").encoder
    kwargs = {"dtype": torch.float32}
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu", model_kwargs=kwargs)
    expected = theirs.encode_document(["heart and lung " * 90])
    np.testing.assert_allclose(exact.embed(tokens, "passage", 300), expected, atol=1e-5)


@pytest.mark.parametrize(("lora_rank", "dtype"), [(0, "float32"), (4, "float32"), (4, "bfloat16")])
def test_a_training_step_changes_what_is_trained(family, lora_rank, dtype):
    name, folder = family
    encoder = pretrained(folder, spec_of(name), dtype=dtype)
    parameters.prepare(encoder, settings(lora_rank=lora_rank))
    before = {key: p.detach().clone() for key, p in encoder.passage.named_parameters()}
    optimizer = torch.optim.AdamW(parameters.groups(encoder, 1e-2, 0.01))
    out = encoder(encoder.tokenize(TEXTS, "passage"), "passage")
    loss = (out @ out.T)[0, 1:].square().sum()
    loss.backward()
    trained = {key: p for key, p in encoder.passage.named_parameters() if p.requires_grad}
    assert trained
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    optimizer.step()
    after = dict(encoder.passage.named_parameters())
    unchanged = {key for key, old in before.items() if torch.equal(old, after[key])}
    if lora_rank:
        assert all("lora" in key for key in trained)
    assert {key for key in before if key not in trained} == unchanged
    parameters.merge(encoder)
    assert np.isfinite(vectors(encoder.eval())).all()


@pytest.mark.parametrize("precision", ["auto", "fp32", "int8"])
def test_an_engine_or_one_clear_error(family, tmp_path, capsys, monkeypatch, precision):
    name, folder = family
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    encoder = pretrained(folder, spec_of(name)).eval()
    checkpoint.save(encoder, tmp_path / "saved")
    if name not in CONVERTED and precision == "int8":
        with pytest.raises(InputError, match=r"encode\.precision: int8: .*CTranslate2 cannot run"):
            opened(tmp_path / "saved", precision)
        return
    embedder = opened(tmp_path / "saved", precision)
    assert embedder.engine == ("ctranslate2" if name in CONVERTED else "torch")
    assert ("CTranslate2 cannot run it" in capsys.readouterr().err) == (embedder.engine == "torch")
    tokens = encoder.tokenize(TEXTS, "passage")
    found = embedder.encoder.embed(tokens, "passage", 200)
    np.testing.assert_allclose(found, vectors(encoder), atol=1e-5 if precision == "fp32" else 0.05)
