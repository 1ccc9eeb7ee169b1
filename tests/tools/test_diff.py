"""What may be compared: the same topics of the same collection."""

import argparse
import json
import math
import runpy

import pytest
from helpers import ROOT, write_params

from dpr.base.errors import InputError
from dpr.base.files import write_json
from dpr.records import beir
from dpr.records.run import Run
from dpr.records.types import Judgment, Passage, Query
from dpr.runs.trec import write_run
from tools import diff, sides
from tools.sides import Side

TOPICS = [f"q{i}" for i in range(40)]
MANIFEST = {
    "collection": {
        "passages": {"sha256": "p"},
        "queries": {"sha256": "q"},
        "judgments": {"test": {"sha256": "j"}, "valid": {"sha256": "v"}},
    }
}


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """compare(topics of one run, of the other) -> what is printed; each topic has one passage."""
    beir.write_passages(tmp_path / "data/collection", [Passage("d0", "", "x")])
    beir.write_queries(tmp_path / "data/collection", [Query(q, q) for q in TOPICS])
    judged = [Judgment(q, "d0", 1) for q in TOPICS]
    beir.write_qrels(tmp_path / "data/collection", "test", judged)
    write_json(tmp_path / "data/manifest.json", MANIFEST)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)

    def call(one, other, common=False):
        for name, topics, rank in (("one", one, 1.0), ("other", other, 3.0)):
            write_run(name, {q: {"x": 2.0, "d0": rank} for q in topics}, tag=name)
        options = {"split": "test", "system": "dense", "measure": "nDCG@10", "top": 1}
        diff.main(argparse.Namespace(before="one", after="other", common=common, **options))
        return capsys.readouterr().out

    return call


def test_runs_of_other_topics_do_not_compare(compare):
    """All of 40 topics at rank 2, against 20 of them at rank 1."""
    with pytest.raises(
        InputError, match=r"of 40 judged topics, one has 40, other has 20, and 20 are the same"
    ):
        compare(TOPICS, TOPICS[:20])
    printed = compare(TOPICS, TOPICS[:20], common=True)
    assert printed.startswith("over the 20 topics that all runs have, of 40 judged\n")
    assert "nDCG@10 over 20 topics: 0.6309 -> 1.0000" in printed


def test_topics_that_neither_run_has_count_as_zero(compare):
    printed = compare(TOPICS[:20], TOPICS[:20])
    assert printed.startswith("20 judged topics are in no run: each counts as 0\n")
    assert "nDCG@10 over 40 topics: 0.3155 -> 0.5000" in printed


def test_no_topic_in_common(compare):
    with pytest.raises(InputError, match="one: data/collection judges no topic of this run"):
        compare(["another"], TOPICS)
    with pytest.raises(InputError, match="one has 20, other has 20, and 0 are the same"):
        compare(TOPICS[:20], TOPICS[20:])
    with pytest.raises(InputError, match="one and other have no topic in common"):
        compare(TOPICS[:20], TOPICS[20:], common=True)


@pytest.mark.parametrize(
    ("part", "message"),
    [("passages", "passages"), ("queries", "queries"), ("judgments", r"judgments \(test\)")],
)
def test_a_side_of_another_collection_is_refused(compare, part, message):
    manifest = json.loads(json.dumps(MANIFEST).replace(f'"{part[0]}"', '"other"'))
    side = Side("HEAD~1", {}, sides.fingerprints(manifest, "test"), "int8")
    with pytest.raises(
        InputError, match=f"HEAD~1: its {message} differ from those in data/collection"
    ):
        sides.require_this_collection(side, "test")
    side = side._replace(collection=sides.fingerprints(MANIFEST, "test"))
    sides.require_this_collection(side, "test")


def test_a_system_of_this_collection_was_asked_every_topic():
    """BM25 finds nothing for some: these are not left out."""
    qrels = {q: {"d0": 1} for q in TOPICS}
    one, other = (Side(name, {"q0": {"d0": 1.0}}, {}, None) for name in ("one", "other"))
    assert diff.shared_topics(qrels, [one, other], common=True) == qrels
    file = other._replace(collection=None)
    assert diff.shared_topics(qrels, [one, file], common=True).keys() == {"q0"}


RECIPES = {
    "a-42": {"train.lr": 1e-4, "seed": 42},
    "a-43": {"train.lr": 1e-4, "seed": 43},
    "b-42": {"train.lr": 5e-5, "seed": 42},
    "b-43": {"train.lr": 5e-5, "seed": 43},
    "a": {"train.lr": 1e-4, "seed": 42},
    "c-43": {"train.lr": 1e-4, "seed": 43},
}


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.setattr(sides, "parameters", RECIPES.__getitem__)


def test_a_side_of_seeds_has_one_recipe(recipes):
    assert diff.seeds("a-42,a-43") == ["a-42", "a-43"]
    assert diff.seeds("b-42") == ["b-42"]
    with pytest.raises(InputError, match=r"a-42 and b-42 differ in train\.lr: a side of"):
        diff.seeds("a-42,b-42")
    with pytest.raises(InputError, match=r"a-42 and a differ in nothing"):
        diff.seeds("a-42,a")
    with pytest.raises(InputError, match=r"a-43 and c-43 differ in nothing"):
        diff.seeds("a-42,a-43,c-43")  # one training must not count twice
    with pytest.raises(InputError, match="an experiment is named twice"):
        diff.seeds("a-42,a-42")


@pytest.mark.parametrize("names", ["a-42, a-43", "a-42,", ",a-42"])
def test_names_are_joined_by_commas_alone(recipes, names):
    with pytest.raises(InputError, match="name the experiments as A,B without spaces"):
        diff.seeds(names)


def test_a_run_file_has_no_seed(recipes, tmp_path):
    (tmp_path / "run.txt").touch()
    with pytest.raises(InputError, match=r"run\.txt is a run file, which has no seed"):
        diff.seeds(f"a-42,{tmp_path / 'run.txt'}")


@pytest.mark.parametrize(("before", "after"), [("HEAD", "HEAD"), ("a-42,a-43", "a-43")])
def test_a_name_on_both_sides_is_refused(compare, recipes, before, after):
    options = {"split": "test", "system": "dense", "measure": "nDCG@10", "top": 1, "common": False}
    with pytest.raises(InputError, match=r"(HEAD|a-43) is on both sides; name two different sides"):
        diff.main(argparse.Namespace(before=before, after=after, **options))


def test_each_topic_has_its_mean_over_the_seeds(compare, recipes, monkeypatch, capsys):
    """Of 40 topics: relevant at rank 1 with one seed and at rank 2 with another; then at rank 1."""
    rank_1, rank_2 = (Run.of({q: {"x": 2.0, "d0": s} for q in TOPICS}) for s in (3.0, 1.0))
    runs = {"a-42": rank_1, "a-43": rank_2, "b-42": rank_1, "b-43": rank_1}
    sides_ = {name: Side(name, run, {}, "int8") for name, run in runs.items()}
    monkeypatch.setattr(sides, "read", lambda name, split, system: sides_[name])
    monkeypatch.setattr(sides, "stale", lambda *stages, side: None)
    monkeypatch.setattr(diff, "require_depth", lambda side, measure: None)
    options = {"split": "test", "system": "dense", "measure": "nDCG@10", "top": 1, "common": False}
    diff.main(argparse.Namespace(before="a-42,a-43", after="b-42", **options))
    printed = capsys.readouterr().out
    low = 1 / math.log2(3)
    assert f"nDCG@10 over 40 topics: {(1 + low) / 2:.4f} -> 1.0000" in printed
    assert (
        f"seeds: a-42 1.0000, a-43 {low:.4f}; mean {(1 + low) / 2:.4f}, range {1 - low:.4f}"
        in printed
    )
    assert "One seed each" not in printed
    assert "there is no figure of power" in printed
    assert "note: a test over seeds and topics takes 4 seeds in all, such as two a" in printed
    diff.main(argparse.Namespace(before="a-42,a-43", after="b-42,b-43", **options))
    printed = capsys.readouterr().out
    assert f"over seeds and topics: {(1 - low) / 2:+.4f} (95 % interval " in printed
    # by hand: t = 1 with two degrees of freedom, of which p is 1 - 1 / sqrt(3)
    assert "p = 0.4226 (quasi-F test)\nnote: few seeds (2 and 2), so their variance" in printed
    diff.main(argparse.Namespace(before="a-42,a-43", after=None, **options))
    printed = capsys.readouterr().out
    assert printed.startswith("test nDCG@10 over 40 topics\nseeds: a-42 1.0000, a-43 0.6309; mean")
    variance = (1 - low) ** 2 / 2  # of the two means; all topics move alike
    for row in (
        "| topics                       | 0.00000  | 0.0000 ",
        f"| seeds, all topics alike      | {variance:.5f}  | {variance**0.5:.4f} ",
        "| seeds, each topic for itself | 0.00000  | 0.0000 ",
        # chi-square with one degree of freedom: 5.0239 and .000982
        "note: few seeds (2), so their variance is poorly known: the true deviation "
        "between seeds may be 0.4 to 32 times that of these",
    ):
        assert row in printed
    with pytest.raises(InputError, match="a-43: name a second side, or several seeds of one"):
        diff.main(argparse.Namespace(before="a-43", after=None, **options))
    diff.main(argparse.Namespace(before="a-43", after="b-42", **options))
    assert "note: One seed each: a different seed may move" in capsys.readouterr().out


def test_a_teacher_that_is_trained_here_is_part_of_the_recipe(monkeypatch):
    """A different training of the cross-encoder changes the encoder only if it teaches."""
    recipes = {n: {"rerank.train.steps": n, "teacher.scores": None} for n in (600, 2400)}
    monkeypatch.setattr(sides, "parameters", recipes.__getitem__)
    assert diff.one_seed_note([600, 2400], "dense") == ""
    assert diff.one_seed_note([600, 2400], "reranked").startswith("One seed each")
    recipes[2400]["teacher.scores"] = recipes[600]["teacher.scores"] = "cross-encoder:trained"
    assert diff.one_seed_note([600, 2400], "dense").startswith("One seed each")


@pytest.mark.parametrize("measure", ["recall@0", "accuracy", "P"])
def test_a_measure_that_cannot_be_computed_is_a_wrong_argument(monkeypatch, capsys, measure):
    monkeypatch.setattr("sys.argv", ["diff", "HEAD", "workspace", "--measure", measure])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_module("tools.diff", run_name="__main__", alter_sys=True)
    assert f"'{measure}' cannot be computed: " in capsys.readouterr().err


def test_a_measure_deeper_than_the_search_is_refused(tmp_path, monkeypatch):
    """As eval.measures refuses it; a file says nothing about its search."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", {"search.top_k": 50})
    here = Side("workspace", {}, {}, None)
    diff.require_depth(here, "recall@50")
    diff.require_depth(here, "AP")
    with pytest.raises(InputError, match=r"recall@51: workspace has search\.top_k 50"):
        diff.require_depth(here, "recall@51")
    diff.require_depth(here._replace(collection=None), "recall@51")
