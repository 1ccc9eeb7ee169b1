"""Training a cross-encoder: its loss by hand, what it learns, and its sample of pairs."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.encoders import checkpoint, formats
from dpr.records.types import Pair
from dpr.reranking import training
from dpr.reranking.cross_encoder import open_cross_encoder, score_pairs
from dpr.settings import RerankTrainSettings

WORDS = ["heart", "lung", "brain", "bone", "eye", "skin"]
QUESTIONS = {word: word for word in WORDS}
TEXTS = {word: f"the {word} of it" for word in WORDS}


def options(**changes):
    values = {"steps": 60, "batch_size": 3, "negatives": 2, "lr": 3e-3, "max_length": 16}
    return RerankTrainSettings(**(values | changes))


def pairs(count):
    """Each word with its own passage, against those of the next two words."""
    rounds = count // len(WORDS) + 1
    each = [Pair(w, w, (WORDS[i - 1], WORDS[i - 2])) for i, w in enumerate(WORDS)]
    return (each * rounds)[:count]


@pytest.fixture
def start(make_encoder, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.fixture
def lively(cross_encoder):
    """Large random weights, with which words make a difference at once."""
    return Path(cross_encoder(labels=1))


def run(start, given, **changes):
    runtime.set_up(1, 0)
    chosen = options(**changes)
    model = training.begin(start, chosen.max_length)
    return model, training.train(model, given, QUESTIONS, TEXTS, chosen)


def test_it_learns_which_passage_answers(lively, tmp_path):
    words = WORDS[:2]
    given = [Pair(word, word, (other,)) for word, other in zip(words, words[::-1], strict=True)]
    model, losses = run(lively, given * 40, batch_size=2, steps=40)
    assert len(losses) == 40 and losses[0] > 0.5  # log 2 is chance
    assert losses[-1] < 0.1
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = open_cross_encoder(str(tmp_path / "saved"), "rerank.model")
    for word, other in zip(words, words[::-1], strict=True):
        own, of_other = score_pairs(saved, [(word, TEXTS[word]), (word, TEXTS[other])])
        assert own > of_other


def test_the_first_loss_is_the_cross_entropy_of_groups_of_any_size(lively, monkeypatch):
    monkeypatch.setattr(formats, "training_format", lambda *_: "fp32")
    given = [Pair("heart", "heart", ("lung",)), Pair("eye", "eye", ("skin", "bone", "lung"))]
    _, losses = run(lively, given, batch_size=2, steps=1)
    model, expected = open_cross_encoder(str(lively), "rerank.model"), []
    for pair in given:
        read = [(pair.query_id, TEXTS[p]) for p in (pair.passage_id, *pair.negative_ids)]
        scores = torch.tensor(score_pairs(model, read))
        expected.append(torch.nn.functional.cross_entropy(scores[None], torch.tensor([0])))
    assert losses[0] == pytest.approx(torch.stack(expected).mean().item(), abs=1e-4)


def test_separate_encoders_give_the_transformer_of_the_passages(make_encoder, tmp_path):
    encoder = make_encoder(tied=False)
    checkpoint.save(encoder, tmp_path / "encoder")
    model, _ = run(training.transformer_of(tmp_path / "encoder"), pairs(3), steps=1, lr=1e-12)
    words = model[0].model.get_input_embeddings().weight
    expected = encoder.passage.transformer.model.get_input_embeddings().weight
    assert torch.equal(words, expected)
    assert not torch.equal(words, encoder.query.transformer.model.get_input_embeddings().weight)


def test_equal_seeds_give_equal_weights(start):
    first, second = (run(start, pairs(9), steps=3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_all_queries_are_sampled_equally_often():
    many = [Pair(f"q{n % 5}", f"d{n}", ()) for n in range(50)]
    sampled = training.sample_pairs(many, options(steps=4, batch_size=5), seed=1)
    assert set(Counter(pair.query_id for pair in sampled).values()) == {4}
    assert set(sampled) <= set(many)
    assert sampled == training.sample_pairs(many, options(steps=4, batch_size=5), seed=1)
    assert sampled != training.sample_pairs(many, options(steps=4, batch_size=5), seed=2)


def test_a_loss_that_is_not_finite(start):
    with pytest.raises(InputError, match=r"rerank\.train\.lr: the loss is not finite; lower it"):
        run(start, pairs(180), lr=1e30)


def test_an_encoder_without_a_transformer(tmp_path):
    with pytest.raises(InputError, match="no cross-encoder can start from it"):
        run(tmp_path / "nothing", pairs(3))


def test_texts_longer_than_the_model_takes(start):
    with pytest.raises(InputError, match=r"rerank\.train\.max_length: .* cannot take 600 tokens"):
        training.begin(training.transformer_of(start), 600)


def test_a_head_of_any_name_has_its_own_rate(lively, monkeypatch):
    rates = []
    adamw = torch.optim.AdamW

    def spy(groups, **options):
        rates.extend((g["lr"], sum(p.numel() for p in g["params"])) for g in groups)
        return adamw(groups, **options)

    monkeypatch.setattr(torch.optim, "AdamW", spy)
    model, _ = run(lively, pairs(3), steps=1)
    network = model[0].model
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    head = sum(p.numel() for p in network.classifier.parameters())
    assert rates == [(3e-3, trained - head), (training.HEAD_LR, head)]
