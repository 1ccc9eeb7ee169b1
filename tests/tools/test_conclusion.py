"""The sentences on figures that are made up: each outcome has its own."""

from itertools import combinations

import pytest
from helpers import ROOT

from dpr.settings import load_settings
from tools.conclusion import Results, conclude, gain

SETTINGS = load_settings(ROOT / "params.yaml")
CLEAR = {"bm25": 0.30, "zero_shot": 0.35, "dense": 0.45, "rrf": 0.46, "hybrid": 0.52}
HELPED = {"steps": 70, "best": {"step": 70}}
USELESS = {"steps": 70, "best": {"step": 0}}


def lengths(passages, limit=256, train=0.01):
    """metrics/lengths.json with these shares of truncated texts."""
    return {
        "collection_passages": {"truncated": passages, "limit": limit},
        "collection_queries": {"truncated": 0.0, "limit": limit},
        "train_passages": {"truncated": train, "limit": limit},
    }


def results(means, tied=(), topics=200, **changes):
    """Every pair is significant, except those in `tied`."""
    against = {}
    for reference, system in combinations(means, 2):
        value = means[system] - means[reference]
        p = 0.41 if {reference, system} in [set(pair) for pair in tied] else 0.004
        test = {"difference": value, "low": value - 0.02, "high": value + 0.02, "p_holm": p}
        test |= {"wins": 120, "ties": 10, "losses": 70}
        against.setdefault(reference, {})[system] = {"nDCG@10": test}
    systems = {system: {"nDCG@10": {"mean": mean}} for system, mean in means.items()}
    compared = {"topics": topics, "systems": systems, "against": against}
    compared["external"] = changes.pop("external", {})
    made = Results(
        "medline", compared, lengths(0.01), {"first": HELPED, "second": HELPED}, SETTINGS, 100
    )
    return made._replace(**changes)


def test_best_by_far():
    sentences = conclude(results(CLEAR))
    assert sentences == [
        "hybrid is the best system: nDCG@10 0.520 over 200 test topics of medline, significantly "
        "above rrf (+0.060, p = 0.004), dense, zero_shot and bm25.",
        "Training helped: from zero_shot to dense +0.100 nDCG@10 (95 % interval +0.080 to +0.120, "
        "p = 0.004); 120 topics are better, 10 equal and 70 worse.",
        "Next, see how far a seed alone moves these figures, before you compare recipes: "
        "`dvc exp run --queue -S seed=43,44 && dvc queue start`",
    ]


def test_a_tie_of_two():
    first, *_ = conclude(results(CLEAR | {"rrf": 0.515}, tied=[("rrf", "hybrid")]))
    assert first == (
        "hybrid has the highest nDCG@10, 0.520 over 200 test topics of medline, but no significant "
        "lead over rrf (+0.005, p = 0.410). It is significantly above dense (+0.070, p = 0.004), "
        "zero_shot and bm25."
    )


def test_all_are_tied():
    first, *_ = conclude(results(CLEAR, tied=[*combinations(CLEAR, 2)]))
    assert "no significant lead over rrf (+0.060, p = 0.410), dense, zero_shot and bm25." in first
    assert "significantly above" not in first


def test_training_that_harmed():
    found = results(CLEAR | {"dense": 0.31}, training={"first": USELESS, "second": HELPED})
    _, trained, useless, command = conclude(found)
    assert trained.startswith("Training harmed the encoder: from zero_shot to dense -0.040 nDCG@10")
    assert useless.startswith("Training did not help in the first round")
    assert command == "Next, train with smaller steps: `dvc exp run -S train.lr=3e-05`"


def test_training_within_chance():
    _, trained, command = conclude(results(CLEAR, tied=[("zero_shot", "dense")]))
    assert trained.startswith("Training made no significant difference: from zero_shot to dense")
    assert "train.lr" in command
    assert trained.endswith("70 worse.")  # from a file without figures of power


def test_training_within_chance_says_what_the_topics_would_find():
    found = results(CLEAR, tied=[("zero_shot", "dense")])
    test = found.compared["against"]["zero_shot"]["dense"]["nDCG@10"]
    test |= {"detectable": 0.0213, "topics_needed": 913}
    assert conclude(found)[1].endswith(
        "70 worse. 200 topics find a true difference of 0.021 four times in five (paired t-test at "
        "0.05, without correction); one as small as observed would need about 910."
    )
    found = results(CLEAR)
    found.compared["against"]["zero_shot"]["dense"]["nDCG@10"] |= {"detectable": 0.0213}
    assert conclude(found)[1].endswith("70 worse.")  # it is significant


def test_too_few_topics_and_none_to_validate():
    found = conclude(results(CLEAR, topics=12, valid_topics=0))
    assert "The test topics are few (12)" in found[2] and "at least 50" in found[2]
    assert "no validation topic, so hybrid has the default weight 0.5" in found[3]


def test_truncated_passages_come_before_all_else():
    *_, cost, command = conclude(results(CLEAR, lengths=lengths(0.31)))
    assert "the encoder does not see the rest: 31.0% of the collection passages" in cost
    assert command.endswith("`dvc exp run -S data.passages.words=120`")
    *_, command = conclude(results(CLEAR, lengths=lengths(0.31, limit=512)))
    assert command.endswith("`dvc exp run -S data.passages.words=240`")


def test_truncated_training_passages_alone_advise_no_cut():
    *_, command = conclude(results(CLEAR, lengths=lengths(0.01, train=0.32)))
    assert "-S seed=" in command


@pytest.mark.parametrize(
    ("group", "changes", "trained", "command"),
    [
        ("train", {"max_steps": 0}, "Nothing was trained", "-S train.max_steps=70`"),
        ("second", {"use": False}, "Training helped", "-S second.use=true`"),
        (None, {"seed": 7}, "Training helped", "-S seed=8,9 "),
    ],
)
def test_the_next_command_fits_the_settings(group, changes, trained, command):
    if group:
        changes = {group: getattr(SETTINGS, group).model_copy(update=changes)}
    sentences = conclude(results(CLEAR, settings=SETTINGS.model_copy(update=changes)))
    assert sentences[1].startswith(trained) and command in sentences[-1]


def test_foreign_runs():
    means = CLEAR | {"splade": 0.6}
    first, *_, one, none, _ = conclude(results(means, external={"splade": 190, "colbert": 0}))
    assert first.startswith("splade is the best system: nDCG@10 0.600")
    assert one == "The run of splade has 190 of 200 topics; the rest counts as 0."
    assert none == "colbert is left out: its run has no topic and passage judged here."


def test_a_gain_turns_with_its_systems():
    compared = results(CLEAR).compared
    power = {"detectable": 0.02, "topics_needed": 900}
    compared["against"]["dense"]["rrf"]["nDCG@10"] |= power
    of, turned = (
        gain(compared, "rrf", "dense", "nDCG@10"),
        gain(compared, "dense", "rrf", "nDCG@10"),
    )
    assert of.difference == pytest.approx(0.01) and turned.difference == pytest.approx(-0.01)
    assert (turned.low, turned.high) == (-of.high, -of.low)
    assert of[-2:] == turned[-2:] == (0.02, 900)
    assert (turned.wins, turned.losses) == (of.losses, of.wins) == (70, 120)
