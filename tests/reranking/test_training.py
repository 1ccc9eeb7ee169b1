"""Training a cross-encoder: its loss by hand, what it learns, and its sample of pairs."""

import signal
from pathlib import Path

import pytest
import torch

from dpr.base import runtime
from dpr.base.errors import InputError
from dpr.encoders import checkpoint, formats
from dpr.records.types import Pair
from dpr.reranking import training
from dpr.reranking.cross_encoder import open_cross_encoder, score_pairs
from dpr.reranking.training import fingerprint, groups_of, sample_pairs
from dpr.settings import RerankTrainSettings
from dpr.training import snapshot
from dpr.training.snapshot import Autosave

WORDS = ["heart", "lung", "brain", "bone", "eye", "skin"]
QUESTIONS = {word: word for word in WORDS}
TEXTS = {word: f"the {word} of it" for word in WORDS}


def options(**changes):
    values = {"steps": 60, "batch_size": 3, "passages": 3, "lr": 3e-3}
    values["max_length"] = 16
    return RerankTrainSettings(**(values | changes))


def groups(count):
    """Each word with its own passage, against those of two different words."""
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


def run(start, given, autosave=Autosave(), **changes):  # noqa: B008
    runtime.set_up(1, 0)
    chosen = options(**changes)
    model = training.begin(start, chosen.max_length)
    return model, training.train(model, given, QUESTIONS, TEXTS, chosen, autosave)


def test_it_learns_which_passage_answers(lively, tmp_path):
    words = WORDS[:2]
    given = [Pair(w, w, (other,)) for w, other in zip(words, words[::-1], strict=True)]
    model, losses = run(lively, given * 40, batch_size=2, steps=40)
    assert len(losses) == 40 and losses[0] > 0.3  # log 2 is chance
    assert losses[-1] < 0.1
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = open_cross_encoder(str(tmp_path / "saved"), "rerank.model")
    for word, other in zip(words, words[::-1], strict=True):
        own, of_other = score_pairs(saved, [(word, TEXTS[word]), (word, TEXTS[other])])
        assert own > of_other


def test_the_first_loss_is_the_cross_entropy_of_groups_of_any_size(lively, monkeypatch):
    monkeypatch.setattr(formats, "training_format", lambda *_: "fp32")
    given = [
        Pair("heart", "heart", ("lung",)),
        Pair("eye", "eye", ("skin", "bone", "lung")),
    ]
    _, losses = run(lively, given, batch_size=2, steps=1)
    model, expected = open_cross_encoder(str(lively), "rerank.model"), []
    for query_id, own, negatives in given:
        scores = score_pairs(model, [(query_id, TEXTS[p]) for p in (own, *negatives)])
        logits, target = torch.tensor([scores]), torch.tensor([0])
        expected.append(torch.nn.functional.cross_entropy(logits, target))
    assert losses[0] == pytest.approx(torch.stack(expected).mean().item(), abs=1e-4)


def test_groups_are_the_pairs_with_negatives():
    given = [Pair("q", "own", ("x", "y", "z")), Pair("q", "a"), Pair("r", "b", ("x",))]
    cut = [Pair("q", "own", ("x", "y")), Pair("r", "b", ("x",))]
    assert groups_of(given, options(passages=3)) == cut


def test_the_groups_decide_how_many_steps_there_are(start):
    """Pairs without negatives make no group: the learning rate still descends to its end."""
    fewer, losses = run(start, groups(12), steps=60)
    planned, expected = run(start, groups(12), steps=4)
    assert losses == expected and len(losses) == 4
    assert all(torch.equal(t, fewer.state_dict()[n]) for n, t in planned.state_dict().items())


@pytest.mark.parametrize(
    ("questions", "texts"), [({"heart": "hearts"}, {}), ({}, {"heart": "h"}), ({}, {"lung": "l"})]
)
def test_groups_with_a_different_text_have_a_different_fingerprint(questions, texts):
    given = [Pair("heart", "heart", ("lung",))]
    known = fingerprint(given, QUESTIONS, TEXTS)
    assert known == fingerprint(list(given), dict(QUESTIONS), TEXTS | {"unread": "text"})
    assert fingerprint(given, QUESTIONS | questions, TEXTS | texts) != known


def test_a_stopped_training_resumes_to_the_same_bytes(start, tmp_path, capsys):
    whole, losses = run(start, groups(12), steps=4)
    path = tmp_path / "state.safetensors"

    def stop_after_three(*values):
        snapshot.save(*values)
        if len(values[-1]["losses"]) == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "save", stop_after_three)
        with pytest.raises(KeyboardInterrupt):
            run(start, groups(12), Autosave(path, 0), steps=4)
    resumed, again = run(start, groups(12), Autosave(path), steps=4)
    assert "resuming after step 3" in capsys.readouterr().out
    assert again == losses
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[n]) for n, tensor in resumed.state_dict().items())
    _, numbers = snapshot.load(path)
    assert numbers["losses"] == losses
    finished, unchanged = run(start, groups(12), Autosave(path), steps=4)  # the result was lost
    assert unchanged == losses
    assert all(torch.equal(tensor, expected[n]) for n, tensor in finished.state_dict().items())


def test_a_signal_stops_after_the_step_with_a_snapshot(start, tmp_path, monkeypatch):
    calculate = training._loss

    def interrupted(*values):
        signal.raise_signal(signal.SIGINT)
        return calculate(*values)

    monkeypatch.setattr(training, "_loss", interrupted)
    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(start, groups(12), Autosave(path), steps=4)
    _, numbers = snapshot.load(path)
    assert len(numbers["losses"]) == 1


def test_separate_encoders_give_the_transformer_of_the_passages(make_encoder, tmp_path):
    encoder = make_encoder(tied=False)
    checkpoint.save(encoder, tmp_path / "encoder")
    model, _ = run(training.transformer_of(tmp_path / "encoder"), groups(3), steps=1, lr=1e-12)
    words = model[0].model.get_input_embeddings().weight
    expected = encoder.passage.transformer.model.get_input_embeddings().weight
    assert torch.equal(words, expected)
    assert not torch.equal(words, encoder.query.transformer.model.get_input_embeddings().weight)


def test_equal_seeds_give_equal_weights(start):
    first, second = (run(start, groups(9), steps=3)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_epoch_has_every_query_once():
    many = [Pair(f"q{n % 3}", f"d{n}", ()) for n in range(10)]
    sampled = sample_pairs(many, options(steps=5, batch_size=5), seed=1)
    assert len(sampled) == 25
    epochs = [sampled[start : start + 3] for start in range(0, 24, 3)]
    assert all(len({pair.query_id for pair in epoch}) == 3 for epoch in epochs)
    assert set(sampled) == set(many)
    assert sampled == sample_pairs(many, options(steps=5, batch_size=5), seed=1)
    assert sampled != sample_pairs(many, options(steps=5, batch_size=5), seed=2)


def test_a_loss_that_is_not_finite(start):
    with pytest.raises(InputError, match=r"rerank\.train\.lr: the loss is not finite; lower it"):
        run(start, groups(180), lr=1e30)


def test_an_encoder_without_a_transformer(tmp_path):
    with pytest.raises(InputError, match="no cross-encoder can start from it"):
        run(tmp_path / "nothing", groups(3))


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
    model, _ = run(lively, groups(3), steps=1)
    network = model[0].model
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    head = sum(p.numel() for p in network.classifier.parameters())
    assert rates == [(3e-3, trained - head), (training.HEAD_LR, head)]
