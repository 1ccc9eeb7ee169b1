"""tools.publish --mteb: mteb's layout, trec_eval's figures, and refusals."""

import csv
import json
import math

import pytest
from helpers import ROOT

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.run import Run
from dpr.runs import trec
from tools import mteb_results

# Of results/BAAI__bge-small-en-v1.5/5c38ec7c405ec4b44b94cc5a9bb96e735b38267a/SciFact.json in the
# repository embeddings-benchmark/results, which mteb 1.20.0 wrote; without its nauc_*.
TOP = {"dataset_revision", "evaluation_time", "kg_co2_emissions", "mteb_version", "scores"}
TOP |= {"task_name"}
IN_SCORES = {"hf_subset", "languages", "main_score"} | {
    f"{name}_at_{k}"
    for name in ("map", "mrr", "ndcg", "precision", "recall")
    for k in (1, 10, 100, 1000, 20, 3, 5)
}


@pytest.fixture
def as_scifact(experiment, monkeypatch, tmp_path):
    """The tiny collection as if it were SciFact; change(row, **values) changes its row."""
    monkeypatch.chdir(experiment)
    settings = mteb_results.load_settings("params.yaml")
    name = settings.data.collection.rpartition("/")[2]
    with mteb_results.TASKS.open() as file:
        row = next(csv.DictReader(file))
    row |= {"collection": name, "passages": "1402", "queries": "20"}
    monkeypatch.setattr(mteb_results, "CUTOFFS", (1, 3, 5, 10, 20, 100))  # top_k is 100 here
    monkeypatch.setattr(mteb_results, "TASKS", tmp_path / "tasks.csv")

    def change(**values):
        lines = [",".join(row), ",".join((row | values).values())]
        mteb_results.TASKS.write_text("\n".join(lines) + "\n")

    change()
    return change


@pytest.fixture
def written(as_scifact, tmp_path, printed):
    command = f"python -m tools.publish {tmp_path}/out --mteb --system zero_shot --name me/mine"
    (file,) = printed(command).split()
    return tmp_path / file


def test_the_layout_is_that_of_a_file_by_mteb(written):
    assert written.name == "SciFact.json"
    assert written.parents[1].name == "me__mine" and written.parents[2].name == "results"
    result = json.loads(written.read_text())
    assert result.keys() >= TOP
    (scores,) = result["scores"]["test"]
    assert scores.keys() >= {key for key in IN_SCORES if not key.endswith("_1000")}
    assert scores["main_score"] == scores["ndcg_at_10"] > 0
    assert "mteb did not run" in scores["evaluated_by"]
    assert result["evaluation_time"] is result["date"] is None  # no time in a file to share


def test_the_figures_are_those_of_compare(written, experiment):
    (scores,) = read_json(written)["scores"]["test"]
    means = read_json(experiment / "metrics/compare.json")["systems"]["zero_shot"]
    for name, ours in (("ndcg_at_10", "nDCG@10"), ("recall_at_100", "recall@100")):
        assert scores[name] == pytest.approx(means[ours]["mean"], abs=6e-6)


def test_every_measure_by_hand():
    """Two topics: relevant at ranks 2 and 4 of three relevant ones; and no hit at all."""
    qrels = {"q0": {"a": 1, "b": 1, "c": 1, "x": 0}, "q1": {"d": 1}}
    scores = mteb_results.scores(qrels, Run.of({"q0": {"x": 4.0, "a": 3.0, "y": 2.0, "b": 1.0}}))
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    expected = {
        "ndcg_at_10": (1 / math.log2(3) + 1 / math.log2(5)) / ideal,
        "map_at_3": (1 / 2) / 3,
        "recall_at_1000": 2 / 3,
        "precision_at_3": 1 / 3,
        "mrr_at_1": 0,
        "mrr_at_5": 1 / 2,
        "hit_rate_at_1": 0,
        "hit_rate_at_3": 1,
        "accuracy": 0,
    }
    halves = {name: pytest.approx(value / 2, abs=6e-6) for name, value in expected.items()}
    assert {name: scores[name] for name in expected} == halves


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"collection": "different"},
            r"small\d*: this name is no task of mteb .*mteb_tasks.csv lists",
        ),
        ({"passages": "5183"}, "1402 passages and 20 judged queries, but mteb's SciFact .* 5183"),
        ({"queries": "300"}, r"\(test\) has 1402 and 300"),
    ],
)
def test_a_different_collection_is_refused(as_scifact, tmp_path, changes, message):
    as_scifact(**changes)
    with pytest.raises(InputError, match=message):
        mteb_results.write(tmp_path / "out", "dense", "me/mine")
    assert not (tmp_path / "out").exists()


def settings(collection, **changes):
    whole = mteb_results.load_settings(ROOT / "params.yaml")
    data = whole.data.model_copy(update={"collection": collection, **changes})
    return whole.model_copy(update={"data": data})


def manifest(passages, queries, equal_ids=0):
    counts = {"passages": {"count": passages}, "judgments": {"test": {"queries": queries}}}
    return counts | {"queries": {"with_the_id_of_a_passage": equal_ids}}


@pytest.mark.parametrize(
    ("collection", "sizes", "task"),
    [
        ("beir:/data/scifact", (5183, 300), "SciFact"),
        ("hf:mteb/scifact", (5183, 300), "SciFact"),
        ("irds:beir/scifact/test", (5183, 300), "SciFact"),
        ("trec-covid", (171332, 50), "TRECCOVID"),
        ("beir:/data/NanoBEIR#NanoSciFact", (2919, 50), "NanoSciFactRetrieval"),
        ("beir:/data/cqadupstack/android", (22998, 699), "CQADupstackAndroidRetrieval"),
    ],
)
def test_the_task_of_a_collection(collection, sizes, task):
    assert mteb_results.task_of(settings(collection), manifest(*sizes))["task"] == task


def test_identical_ids_are_treated_as_in_mteb():
    sizes = manifest(8674, 1406, equal_ids=1406)
    assert mteb_results.task_of(settings("beir:/x/arguana", drop_query_id=True), sizes)
    with pytest.raises(InputError, match=r"data\.drop_query_id: set it to true"):
        mteb_results.task_of(settings("beir:/x/arguana", drop_query_id=False), sizes)
    sizes = manifest(5183, 300, equal_ids=1)
    with pytest.raises(InputError, match=r"data\.drop_query_id: set it to false"):
        mteb_results.task_of(settings("beir:/x/scifact", drop_query_id=True), sizes)


def test_a_short_ranking_is_refused():
    chosen = settings("beir:/x/scifact")
    search = chosen.search.model_copy(update={"top_k": 100})
    with pytest.raises(InputError, match=r"search\.top_k: mteb ranks 1000 passages"):
        mteb_results.task_of(chosen.model_copy(update={"search": search}), manifest(5183, 300))


def test_feedback_is_refused():
    chosen = settings("beir:/x/scifact")
    feedback = chosen.search.feedback.model_copy(update={"method": "mean"})
    search = chosen.search.model_copy(update={"feedback": feedback})
    with pytest.raises(InputError, match=r"search\.feedback\.method: an encoder alone has none"):
        mteb_results.task_of(chosen.model_copy(update={"search": search}), manifest(5183, 300))


def test_a_name_without_an_organization_is_refused(tmp_path):
    with pytest.raises(InputError, match="--name mine: mteb wants ORGANIZATION/MODEL"):
        mteb_results.write(tmp_path, "dense", "mine")


def test_mteb_loads_it(written, tmp_path):
    mteb = pytest.importorskip("mteb")
    from mteb.models.model_meta import ModelMeta
    from mteb.results import TaskResult

    (scores,) = read_json(written)["scores"]["test"]
    result = TaskResult.from_disk(written)
    assert result.task_name == "SciFact" and result.get_score() == scores["ndcg_at_10"]
    assert result.is_public and result.languages == ["eng"]
    meta = ModelMeta.model_validate(read_json(written.parent / "model_meta.json"))
    assert (meta.name, meta.revision) == ("me/mine", written.parent.name)
    cache = mteb.ResultCache(tmp_path / "out")
    (model,) = cache.load_results(include_remote=False).model_results
    assert model.model_name == "me/mine"
    assert model.to_dataframe().iloc[0, -1] == pytest.approx(scores["ndcg_at_10"])


def test_mteb_measures_the_same(as_scifact, experiment):
    pytest.importorskip("mteb")
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    qrels = beir.read_qrels(experiment / "data/collection", "test")
    run = trec.read_run(experiment / "data/runs/test/dense.txt")
    ours = mteb_results.scores(qrels, run)
    theirs = calculate_retrieval_scores({q: run[q] for q in qrels}, qrels, mteb_results.CUTOFFS)
    for name in ("ndcg", "map", "recall", "precision", "mrr", "hit_rate"):
        for key, value in getattr(theirs, name).items():
            assert ours[f"{name}_at_{key.split('@')[1]}"] == pytest.approx(value, abs=6e-6), key


def test_the_tasks_are_those_of_mteb():
    mteb = pytest.importorskip("mteb")
    with mteb_results.TASKS.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 39
    for row in rows:
        task = mteb.get_task(row["task"])
        assert task.metadata.revision == row["revision"]
        assert [*task.eval_splits] == [row["split"]]
        assert str(task.ignore_identical_ids).lower() == row["ignore_identical_ids"]
        sizes = task.metadata.descriptive_stats[row["split"]]
        assert sizes["num_samples"] == int(row["passages"]) + int(row["queries"])
        assert task.metadata.main_score == "ndcg_at_10" and task.metadata.eval_langs == ["eng-Latn"]
        assert max(task.k_values) == mteb_results.CUTOFFS[-1] and not task.skip_first_result
