"""The noise of a number format: against brute force, and with the packaged encoder."""

import numpy as np
import pytest
import torch
from helpers import PARAMS, ROOT, open_model

from dpr.base.errors import InputError
from dpr.base.processes import ProcessGroup
from dpr.embeddings import precision
from dpr.embeddings.passages import encode_passages
from dpr.embeddings.precision import open_for_passages, require_promise, score_noise
from dpr.encoders import checkpoint, formats
from dpr.encoders.embedder import Embedder
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage

CPU = torch.device("cpu")
QUERIES = ["heart", "the lung and the liver", "eye", "bone"]


def options(precision):
    return PARAMS.encode.model_copy(update={"precision": precision})


@pytest.fixture
def folder(make_encoder, tmp_path):
    """A saved encoder."""
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_all_noise(broken):
    """A format that is too narrow must not look like one without an error."""
    exact = np.random.default_rng(0).normal(size=(3, 20))
    scores = exact.copy()
    scores[1, 4] = broken
    assert score_noise(exact, scores) == 1.0
    assert score_noise(exact, np.full_like(exact, broken)) == 1.0


def test_noise_is_the_share_of_the_spread_that_is_error():
    """Per query: the exact scores with a factor and a shift, and errors of a known size."""
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(50, 4000))
    factors, shifts = rng.uniform(0.5, 9, size=(2, 50, 1))
    for size in (0.05, 0.3):
        scores = factors * (exact + size * rng.normal(size=exact.shape)) + shifts
        assert score_noise(exact, scores) == pytest.approx(size / np.hypot(1, size), rel=0.02)
        rows = zip(exact, scores, strict=True)
        explained = np.mean([np.corrcoef(*row)[0, 1] ** 2 for row in rows])
        assert score_noise(exact, scores) == pytest.approx(np.sqrt(1 - explained))
    assert score_noise(exact, factors * exact + shifts) == pytest.approx(0, abs=1e-6)
    assert score_noise(exact[:, :1], exact[:, :1]) == 0  # one passage: nothing to rank


@pytest.mark.parametrize("number_format", ["fp32", "int8"])
def test_a_format_costs_what_brute_force_says(folder, collection, tmp_path, number_format):
    """The collection is smaller than the sample, so the sample is all of it."""
    corpus = Corpus(collection, ". ")
    embedder = Embedder(folder, options(number_format), CPU, tmp_path / "scratch")
    embeddings = encode_passages(embedder, corpus, tmp_path / "out")
    cost = precision.precision_cost(embedder, embeddings, corpus, QUERIES)
    texts = [text for _, text in corpus.texts()]
    scores, vectors = [], []
    for used in (embedder, embedder.in_format("fp32")):
        vectors.append(used.embed_texts(texts, "passage"))
        scores.append(used.embed_texts(QUERIES, "query") @ vectors[-1].T)
    cosines = (vectors[0] * vectors[1]).sum(axis=1)
    explained = [np.corrcoef(*rows)[0, 1] ** 2 for rows in zip(*scores, strict=True)]
    assert cost["format"] == number_format
    expected = {"least": cosines.min(), "mean": np.mean(cosines)}
    assert cost["cosine_to_fp32"] == pytest.approx(expected, abs=1e-5)
    assert cost["score_noise"] == pytest.approx(np.sqrt(1 - min(1, np.mean(explained))), abs=1e-3)
    assert (cost["score_noise"] > 0.003) == (number_format == "int8")
    assert (cost["cosine_to_fp32"]["least"] < 0.99999) == (number_format == "int8")


def packaged(factor):
    """The packaged encoder, with eight channels of each layer's values times a factor.

    The projection after the attention divides by it again: in exact numbers it changes nothing. In
    int8, where a token's largest channel sets the steps for all, the rest is rounded away.
    """
    name = "sentence-transformers/all-MiniLM-L6-v2"
    encoder = open_model(name, query_max_length=64, passage_max_length=200)
    with torch.no_grad():
        for layer in (m for m in encoder.passage.modules() if type(m).__name__ == "BertLayer"):
            values, after = layer.attention.self.value, layer.attention.output.dense
            values.weight[:8] *= factor
            values.bias[:8] *= factor
            after.weight[:, :8] /= factor
    return encoder


@pytest.mark.slow
def test_auto_takes_int8_only_where_it_keeps_the_scores(tmp_path, monkeypatch, capsys):
    """The packaged encoder in int8; an equal one whose activations int8 cannot hold in fp32."""
    monkeypatch.setattr(formats, "auto", lambda device: ["int8", "fp32"])
    pages = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    paragraphs = [part for page in pages for part in page.split("\n\n") if part[0].isalpha()]
    passages = [Passage(f"d{n}", "", " ".join(p.split())) for n, p in enumerate(paragraphs)]
    beir.write_passages(tmp_path / "english", passages)
    corpus, scratch, vectors = Corpus(tmp_path / "english", ". "), tmp_path / "scratch", {}
    for name, factor, number_format in (("sound", 1, "int8"), ("outliers", 64, "fp32")):
        checkpoint.save(packaged(factor), tmp_path / name)
        embedder = open_for_passages(corpus, tmp_path / name, options("auto"), scratch)
        told = capsys.readouterr().err
        assert embedder.format == number_format, told
        vectors[name] = embedder.in_format("fp32").embed_texts(QUERIES, "query")
        assert told.count("\n") == (number_format == "fp32")
    np.testing.assert_allclose(vectors["outliers"], vectors["sound"], atol=1e-5)
    assert "outliers: in int8, 0.1" in told
    assert told.endswith("of the spread of scores is error, more than 0.1; continuing with fp32\n")
    of_user = open_for_passages(corpus, tmp_path / "outliers", options("int8"), scratch)
    assert of_user.format == "int8"


@pytest.mark.parametrize(("noise", "expected"), [(0.0, "int8"), (0.5, "fp32")])
def test_all_processes_follow_the_first(folder, collection, tmp_path, monkeypatch, noise, expected):
    monkeypatch.setattr(formats, "auto", lambda device: ["int8", "fp32"])
    monkeypatch.setattr(ProcessGroup, "broadcast", lambda self, numbers: (noise,))
    monkeypatch.setattr(precision, "score_noise", None)  # this process measures nothing itself
    corpus, scratch = Corpus(collection, ". "), tmp_path / "scratch"
    opened = open_for_passages(corpus, folder, options("auto"), scratch, ProcessGroup(1, 2))
    assert opened.format == expected


@pytest.mark.parametrize(
    ("wanted", "number_format", "noise", "refused"),
    [
        ("auto", "int8", 0.101, "0.101 of the spread .* set encode.precision fp32 or bf16"),
        ("auto", "bf16", float("nan"), "nan of the spread .* set encode.precision fp32$"),
        ("auto", "int8", 0.1, None),
        ("auto", "fp32", 0.2, None),  # vectors of different passages
        ("int8", "int8", 0.2, None),  # the user's own choice
    ],
)
def test_the_audit_holds_auto_to_its_promise(folder, wanted, number_format, noise, refused):
    cost = {"format": number_format, "score_noise": noise}
    if refused is None:
        require_promise(cost, folder, options(wanted))
    else:
        with pytest.raises(InputError, match=rf"encoder: in {number_format}, {refused}"):
            require_promise(cost, folder, options(wanted))


def test_weights_that_are_saved_in_half_precision_may_be_encoded_in_it(make_encoder, tmp_path):
    """fp32 weights of a large decoder need not fit beside it."""
    checkpoint.save(make_encoder().to(torch.bfloat16), tmp_path / "half")
    require_promise({"format": "bf16", "score_noise": 0.5}, tmp_path / "half", options("auto"))
    with pytest.raises(InputError, match=r"half: in int8"):
        require_promise({"format": "int8", "score_noise": 0.5}, tmp_path / "half", options("auto"))
