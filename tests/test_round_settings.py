"""Settings of the rounds of training, and of a teacher."""

import pytest
from helpers import write_params

from dpr.base.errors import InputError
from dpr.settings import load_settings

MINES = {"mine.encoder.use": True}
SECOND = {"second.use": True}
TAUGHT = {"teacher.scores": "fusion", "train.teacher_share": 0.5}
NO_PART = r"a teacher needs scores, and a share of the loss or a margin"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (SECOND | {"second.train": {"learning_rate": 1}}, r"second\.train\.learning_rate: "),
        (SECOND | {"second.train": {"lr": "fast"}}, r"second\.train\.lr: .*number"),
        (SECOND | {"second.train": {"lr": True}}, r"second\.train\.lr: .*number"),
        (SECOND | {"second.train": {"batch_size": 8.0}}, r"second\.train\.batch_size: .*integer"),
        (
            SECOND | {"second.train": {"epochs": 2, "max_steps": 3}},
            r"second\.train: give one of max_steps and",
        ),
        (SECOND | {"second.lr_ratio": 0}, r"second\.lr_ratio: .*greater than 0"),
        (SECOND | {"second.mine": {"dense": {}}}, r"second\.mine\.dense: "),
        (SECOND | {"second.mine": {"encoder": None}}, r"second\.mine\.encoder: "),
        (
            SECOND | {"second.mine": {"encoder": {"use": True, "first_rank": 101}}},
            r"second\.mine\.encoder: first_rank is above last_rank",
        ),
        (SECOND | {"second.mine": {"bm25": {"k2": 1}}}, r"second\.mine\.bm25\.k2: "),
        (SECOND | {"second.mine": None}, r"second\.mine: .*dictionary"),
        (
            SECOND | MINES | {"second.train": {"hard_negatives": 0}},
            r"second.*hard_negatives is 0",
        ),
        ({"teacher.scores": "fusion"}, NO_PART),
        ({"train.teacher_share": 0.5}, NO_PART),
        ({"teacher.margin": 0.1}, NO_PART),
        ({"teacher.scores": "fusoin", "train.teacher_share": 0.5}, r"teacher\.scores: none of: "),
        ({"teacher.scores": "file:", "train.teacher_share": 0.5}, r"teacher\.scores: none of: "),
        ({"teacher.scores": "cross-encoder:m", "teacher.margin": 0.1}, r"a cross-encoder scores"),
        (MINES | {"mine.encoder.relative_margin": 1.0}, r"mine\.encoder\.relative_margin: .*less"),
        (MINES | {"mine.encoder.margin": -0.1}, r"mine\.encoder\.margin: .*greater"),
    ],
)  # fmt: skip
def test_rounds_and_teachers_that_do_not_go_together(tmp_path, changes, message):
    path = write_params(tmp_path / "params.yaml", changes)
    with pytest.raises(InputError, match=message):
        load_settings(path)


def test_what_the_second_round_changes(tmp_path):
    changes = {
        "second.mine": {"encoder": {"use": True, "margin": 0.1}},
        "second.train": {"lr": 0.1, "epochs": 2},
    }
    settings = load_settings(write_params(tmp_path / "params.yaml", SECOND | changes))
    mine, train = settings.mine_of("second"), settings.train_of("second")
    assert (mine.encoder.use, mine.encoder.margin, train.lr) == (True, 0.1, 0.1)
    assert mine.encoder.last_rank == settings.mine.encoder.last_rank
    assert mine.bm25 == settings.mine.bm25
    changed = {"lr": 0.1, "epochs": 2, "max_steps": None}
    assert train == settings.train.model_copy(update=changed)
    assert (settings.runs("first"), settings.runs("second")) == (True, True)
    assert (settings.mine_of("first"), settings.train_of("first")) == (
        settings.mine,
        settings.train,
    )


@pytest.mark.parametrize("rate", [1e-4, 3e-5])
def test_the_learning_rate_is_that_of_both_rounds(tmp_path, rate):
    settings = load_settings(write_params(tmp_path / "params.yaml", SECOND | {"train.lr": rate}))
    assert (settings.train_of("first").lr, settings.train_of("second").lr) == (rate, rate / 2)


@pytest.mark.parametrize("key", ["batch_size", "temperature", "eval_every"])
def test_what_a_person_sets_acts_on_both_rounds_or_is_named(tmp_path, key):
    """By default; and what second.train has of its own is named."""
    settings = load_settings(write_params(tmp_path / "params.yaml", SECOND | {f"train.{key}": 9}))
    assert getattr(settings.train_of("second"), key) == 9
    own = {"roles", "max_steps", "symmetric", "initial_share", "valid_passages"}
    assert set(settings.own_of_second()) == own


@pytest.mark.parametrize(
    ("changes", "mines", "needs_vectors"),
    [
        ({}, "", ""),
        ({"mine.bm25.use": True}, "first", ""),
        (MINES, "first", "first"),
        ({"train.roles": "query"}, "", "first"),
        (TAUGHT, "first", "first"),
        ({"teacher.scores": "file:f", "teacher.margin": 0.1}, "first", ""),
        (SECOND | {"second.mine": {}, "second.train": {}}, "", ""),
        (SECOND | {"second.mine": {"encoder": {"use": True}}}, "second", "second"),
        (
            SECOND | MINES | {"second.train": {}} | {"second.mine": {"encoder": {"use": False}}},
            "first",
            "first",
        ),
        (SECOND | {"second.mine": {}, "second.train": {"roles": "query"}}, "", "second"),
        ({"train.roles": "query", "train.max_steps": 0}, "", ""),
        (TAUGHT | MINES | {"train.max_steps": 0}, "", ""),
        (SECOND | {"second.train": {"roles": "query", "max_steps": 0}}, "", ""),
        (SECOND | TAUGHT | {"second.mine": {}}, "first second", "first second"),
        (SECOND | {"train.max_steps": 0}, "", ""),
    ],
)
def test_which_rounds_mine_and_need_vectors(tmp_path, changes, mines, needs_vectors):
    settings = load_settings(write_params(tmp_path / "params.yaml", changes))
    for round in ("first", "second"):
        assert settings.mines(round) == (round in mines)
        assert settings.needs_vectors(round) == (round in needs_vectors)


@pytest.mark.parametrize(
    ("changes", "pairs", "message"),
    [
        ({}, 63, r"params\.yaml: train\.batch_size is 64, but there are only 63 training pairs"),
        (
            SECOND | {"train.batch_size": 8, "second.train": {"batch_size": 64}},
            8,
            r"second\.train\.batch_size is 64, .* only 8 ",
        ),
    ],
)
def test_training_pairs_fill_a_batch_of_each_round(tmp_path, changes, pairs, message):
    path = tmp_path / "params.yaml"
    settings = load_settings(write_params(path, changes))
    with pytest.raises(InputError, match=message):
        settings.require_batches(pairs)
    settings.require_batches(64)
    untrained = load_settings(write_params(path, changes | {"train.max_steps": 0}))
    untrained.require_batches(0)


@pytest.mark.parametrize("changes", [{"second.train": {"lr": "no"}}, {"second.mine": {"x": 1}}])
def test_changes_of_a_second_round_that_is_not_used_are_not_read(tmp_path, changes):
    settings = load_settings(write_params(tmp_path / "params.yaml", changes))
    assert not (settings.mines("second") or settings.needs_vectors("second"))
