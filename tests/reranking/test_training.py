"""Training a cross-encoder: its loss by hand, what it learns, and its sample of pairs."""

import math
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
from dpr.reranking.groups import Group, fingerprint, grouped, sample_pairs
from dpr.settings import RerankTrainSettings
from dpr.training import snapshot
from dpr.training.snapshot import Autosave

WORDS = ["heart", "lung", "brain", "bone", "eye", "skin"]
QUESTIONS = {word: word for word in WORDS}
TEXTS = {word: f"the {word} of it" for word in WORDS}


def options(**changes):
    values = {"steps": 60, "batch_size": 3, "passages": 3, "relevant": 1, "lr": 3e-3}
    values["max_length"] = 16
    return RerankTrainSettings(**(values | changes))


def groups(count):
    """Each word with its own passage, against those of two different words."""
    rounds = count // len(WORDS) + 1
    each = [Group(w, (w, WORDS[i - 1], WORDS[i - 2]), (1, 0, 0)) for i, w in enumerate(WORDS)]
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
    given = [Group(w, (w, other), (1, 0)) for w, other in zip(words, words[::-1], strict=True)]
    model, losses = run(lively, given * 40, batch_size=2, steps=40)
    assert len(losses) == 40 and losses[0] > 0.3  # log 2 is chance
    assert losses[-1] < 0.1
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    saved = open_cross_encoder(str(tmp_path / "saved"), "rerank.model")
    for word, other in zip(words, words[::-1], strict=True):
        own, of_other = score_pairs(saved, [(word, TEXTS[word]), (word, TEXTS[other])])
        assert own > of_other


def test_scores_learn_the_shares_of_the_grades(lively):
    words, given = WORDS[:2], []
    for word, other in zip(words, words[::-1], strict=True):
        given.append(Group(word, (word, other), (2, 1)))
    model, losses = run(lively, given * 60, batch_size=2, steps=60)
    scores = torch.tensor(score_pairs(model, [("heart", TEXTS[w]) for w in words]))
    assert scores.softmax(0).tolist() == pytest.approx([2 / 3, 1 / 3], abs=0.1)
    smallest = math.log(3) - 2 / 3 * math.log(2)
    assert losses[-1] == pytest.approx(smallest, abs=0.05)


def test_the_first_loss_is_the_cross_entropy_of_groups_of_any_size(lively, monkeypatch):
    monkeypatch.setattr(formats, "training_format", lambda *_: "fp32")
    given = [
        Group("heart", ("heart", "lung"), (1, 0)),
        Group("eye", ("eye", "skin", "bone", "lung"), (2, 1, 1, 0)),
    ]
    _, losses = run(lively, given, batch_size=2, steps=1)
    model, expected = open_cross_encoder(str(lively), "rerank.model"), []
    for group, shares in zip(given, [[1.0, 0.0], [0.5, 0.25, 0.25, 0.0]], strict=True):
        scores = score_pairs(model, [(group.query_id, TEXTS[p]) for p in group.passage_ids])
        logits, targets = torch.tensor([scores]), torch.tensor([shares])
        expected.append(torch.nn.functional.cross_entropy(logits, targets))
    assert losses[0] == pytest.approx(torch.stack(expected).mean().item(), abs=1e-4)


QRELS = {"q": {"own": 2, "a": 1, "b": 2, "gone": 2, "never": 0}}
EXIST = {"own", "a", "b", "never", "x", "y", "z"}


def test_a_group_has_relevant_passages_and_is_filled_with_negatives():
    chosen = options(passages=5, relevant=3)
    (group,) = grouped([Pair("q", "own", ("x", "y", "z"))], QRELS, EXIST, chosen, 1)
    assert group.passage_ids[0] == "own" and set(group.passage_ids[1:3]) == {"a", "b"}
    assert group.passage_ids[3:] == ("x", "y")
    assert dict(zip(group.passage_ids, group.grades, strict=True)) == {
        **{"own": 2, "a": 1, "b": 2},
        **{"x": 0, "y": 0},
    }


def test_relevant_passages_are_drawn_by_seed():
    chosen, given = options(passages=3, relevant=2), [Pair("q", "own", ("x",))] * 40
    drawn = [group.passage_ids[1] for group in grouped(given, QRELS, EXIST, chosen, 1)]
    assert set(drawn) == {"a", "b"}
    again = [group.passage_ids[1] for group in grouped(given, QRELS, EXIST, chosen, 1)]
    assert drawn == again


def test_groups_without_judgments_or_negatives():
    given = [Pair("unjudged", "own", ("x", "y", "z")), Pair("q", "own")]
    groups = grouped(given, QRELS, EXIST, options(passages=3, relevant=2), 1)
    assert groups == [Group("unjudged", ("own", "x", "y"), (1, 0, 0))]


def test_groups_of_cut_documents():
    given = [Pair("q", "own#0", ("x#3",))]
    exist = {f"{document}#0" for document in EXIST}
    chosen = options(passages=4, relevant=3)
    (group,) = grouped(given, QRELS, exist, chosen, 1, lambda document: f"{document}#0")
    assert set(group.passage_ids) == {"own#0", "a#0", "b#0", "x#3"}
    assert group.grades[0] == 2


def test_the_groups_decide_how_many_steps_there_are(start):
    """Pairs without negatives make no group: the learning rate still descends to its end."""
    fewer, losses = run(start, groups(12), steps=60)
    planned, expected = run(start, groups(12), steps=4)
    assert losses == expected and len(losses) == 4
    assert all(torch.equal(t, fewer.state_dict()[n]) for n, t in planned.state_dict().items())


@pytest.mark.parametrize(
    ("questions", "texts", "grades"),
    [({"heart": "hearts"}, {}, (1, 0)), ({}, {"lung": "lungs"}, (1, 0)), ({}, {}, (2, 0))],
)
def test_groups_with_a_different_text_or_grade_have_a_different_fingerprint(
    questions, texts, grades
):
    given = [Group("heart", ("heart", "lung"), (1, 0))]
    known = fingerprint(given, QUESTIONS, TEXTS)
    assert known == fingerprint(list(given), dict(QUESTIONS), TEXTS | {"unread": "text"})
    changed = [given[0]._replace(grades=grades)]
    assert fingerprint(changed, QUESTIONS | questions, TEXTS | texts) != known


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
