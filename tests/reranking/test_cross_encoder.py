"""Reranking: scores against transformers, the order of a run, and models that are refused."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from dpr.base.errors import InputError
from dpr.encoders import formats
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage
from dpr.reranking.cross_encoder import open_cross_encoder, score_first, score_pairs, with_rest

WORDS = ["heart", "lung", "brain", "bone", "eye", "skin"]
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY |= {"intermediate_size": 64, "max_position_embeddings": 128}
QUESTIONS = {"q1": "heart", "q2": "lung", "q3": "bone"}
RUN = {
    "q1": {"a": 9.0, "b": 8.0, "c": 7.0, "d": 6.0, "e": 5.0},
    "q2": {"b": 3.0},
    "q3": {},  # a topic that found nothing
}


class Lengths:
    """Stands for a cross-encoder: the length of the passage is its score."""

    device = "cpu"

    def __init__(self):
        self.read = []

    def predict(self, pairs, **options):
        self.read += pairs
        return np.array([float(len(passage)) for _, passage in pairs], np.float32)


@pytest.fixture
def corpus(tmp_path):
    texts = {"a": "aa", "b": "bbbb", "c": "ccc", "d": "dddddd", "e": "e"}
    beir.write_passages(tmp_path, [Passage(p, "", text) for p, text in texts.items()])
    return Corpus(tmp_path, ". ")


def test_the_first_passages_are_read(corpus):
    model = Lengths()
    scored = score_first(model, RUN, QUESTIONS, corpus, depth=3)
    assert scored == {"q1": {"a": 2, "b": 4, "c": 3}, "q2": {"b": 4}, "q3": {}}
    pairs = [("heart", "aa"), ("heart", "bbbb"), ("heart", "ccc"), ("lung", "bbbb")]
    assert sorted(model.read) == pairs  # d is not among them, though it has the longest text


def test_the_rest_of_a_run_follows_in_its_order():
    new = {"q1": {"b": 0.5, "a": -1.5}, "q2": {"b": 4.0}}
    whole = with_rest(new, RUN)
    assert whole["q1"] == {"b": 0.5, "a": -1.5, "c": -2.5, "d": -3.5, "e": -4.5}
    assert whole["q2"] == {"b": 4.0} and whole["q3"] == {}


def test_a_document_has_the_score_of_its_best_passage(tmp_path):
    texts = {"a#0": "a", "a#1": "aaaaa", "b#0": "bbb", "c#0": "cccccccc"}
    beir.write_passages(tmp_path, [Passage(p, "", text) for p, text in texts.items()])
    run = {"q1": {"b": 2.0, "a": 1.0, "c": 0.5}}
    scored = score_first(Lengths(), run, QUESTIONS, Corpus(tmp_path, ". ", cut=True), depth=2)
    assert scored == {"q1": {"b": 3, "a": 5}}


@torch.no_grad()
def logits(folder, pairs):
    """Those of transformers, a pair at a time, in fp32."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    return [model(**tokenizer(*pair, return_tensors="pt")).logits.item() for pair in pairs]


def test_scores_are_the_logits_of_transformers(cross_encoder, monkeypatch):
    monkeypatch.setattr(formats, "training_format", lambda *_: "fp32")
    folder = cross_encoder(labels=1)
    pairs = [("heart", "the heart of it"), ("lung and bone", "bone " * 30), ("eye", "skin")]
    found = score_pairs(open_cross_encoder(str(folder), "rerank.model"), pairs)
    assert found == pytest.approx(logits(folder, pairs), abs=1e-4)
    assert np.ptp(found) > 0.1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("format", "tolerance"), [("fp32", 1e-4), ("bf16", 0.5)])
def test_weights_of_any_number_format(
    cross_encoder, tmp_path, monkeypatch, dtype, format, tolerance
):
    monkeypatch.setattr(formats, "training_format", lambda *_: format)
    shutil.copytree(cross_encoder(labels=1), tmp_path / "half")
    AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "half", dtype=dtype
    ).save_pretrained(tmp_path / "half")
    pairs = [("heart", "the heart of it"), ("eye", "skin")]
    assert score_pairs(
        open_cross_encoder(str(tmp_path / "half"), "rerank.model"), pairs
    ) == pytest.approx(logits(tmp_path / "half", pairs), abs=tolerance)


@pytest.fixture
def of_modules(tiny_model, tmp_path):
    """of_modules(kind) -> a folder with two modules: a language model, or a pooled transformer."""

    def make(kind):
        torch.manual_seed(1)
        sizes = {"vocab_size": len(AutoTokenizer.from_pretrained(tiny_model))} | TINY
        if kind == "language model":
            LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(tmp_path / "causal")
            AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "causal")
            transformer = Transformer(str(tmp_path / "causal"), transformer_task="text-generation")
            modules = [transformer, LogitScore(true_token_id=11, false_token_id=12)]
        else:
            head = Dense(32, 1, activation_function=None, module_output_name="scores")
            modules = [Transformer(tiny_model), Pooling(32), head]
        CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "modules"))
        return str(tmp_path / "modules")

    return make


@pytest.mark.parametrize("kind", ["language model", "pooled transformer"])
def test_scores_of_modules_are_not_rounded_to_bf16(of_modules, monkeypatch, kind):
    """Qwen3-Reranker is such a language model. Rounded scores would tie."""
    folder = of_modules(kind)
    pairs = [(word, f"the {other} of it") for word in WORDS for other in WORDS]
    exact = CrossEncoder(folder, device="cpu").predict(pairs, activation_fn=torch.nn.Identity())
    monkeypatch.setattr(formats, "training_format", lambda *_: "bf16")
    opened = open_cross_encoder(folder, "rerank.model")
    found = torch.tensor(score_pairs(opened, pairs))
    opened.save_pretrained(folder + "-again", create_model_card=False)
    again = open_cross_encoder(folder + "-again", "rerank.model")
    assert score_pairs(again, pairs) == found.tolist()
    assert (found != found.bfloat16()).float().mean() > 0.9
    assert np.corrcoef(found, exact)[0, 1] > 0.98


def test_a_score_that_is_not_finite(corpus):
    model = SimpleNamespace(device="cpu", predict=lambda pairs, **_: np.full(len(pairs), np.nan))
    with pytest.raises(InputError, match="a score that is not finite; choose another model"):
        score_first(model, RUN, QUESTIONS, corpus, depth=3)


def test_models_that_are_no_cross_encoder(cross_encoder, tmp_path):
    with pytest.raises(InputError, match=r"rerank\.model: .* gives 3 numbers per pair; choose"):
        open_cross_encoder(str(cross_encoder(labels=3)), "rerank.model")
    with pytest.raises(InputError, match=r"rerank\.model: cannot load the cross-encoder"):
        open_cross_encoder(str(tmp_path / "nothing"), "rerank.model")

    with pytest.raises(InputError, match=r"rerank\.model: .* is a folder, which has no revision"):
        open_cross_encoder(str(tmp_path), "rerank.model", "main")


def test_a_model_without_weights_for_its_score(cross_encoder, tiny_model, tmp_path):
    shutil.copytree(cross_encoder(labels=1), tmp_path / "headless")
    file = tmp_path / "headless/model.safetensors"
    tensors = {name: t for name, t in load_file(file).items() if not name.startswith("classifier")}
    save_file(tensors, file, {"format": "pt"})
    for name in (tiny_model, tmp_path / "headless"):
        with pytest.raises(InputError, match=r"rerank\.model: .* has no weights for classifier\.b"):
            open_cross_encoder(str(name), "rerank.model")
