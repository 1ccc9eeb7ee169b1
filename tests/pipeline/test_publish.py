"""What is published loads elsewhere, and says what the metrics say."""

from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval
from helpers import sh
from hub import hub

from dpr.base.files import read_json
from dpr.encoders import checkpoint
from dpr.records import beir


@pytest.fixture(scope="module")
def published(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "encoder"
    sh(experiment, f"python -m tools.publish {folder}")
    return folder


def test_sentence_transformers_loads_it(published, experiment):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(published), device="cpu")
    ours = checkpoint.load(experiment / "data/encoders/dense")
    tokens = ours.tokenize(["the heart"], "query")
    expected = ours.embed(tokens, "query", 512)
    np.testing.assert_allclose(model.encode_query(["the heart"]), expected, atol=1e-5)


def test_the_card_has_the_figures(published, experiment):
    from huggingface_hub import ModelCard

    card = ModelCard.load(published / "README.md")
    measured = read_json(experiment / "metrics/compare.json")["systems"]["dense"]
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found == {name: round(value["mean"], 4) for name, value in measured.items()}
    assert card.data.library_name == "sentence-transformers"


READERS = {
    "ir_measures": lambda run, qrels: ir_measures.calc_aggregate(
        [ir_measures.nDCG @ 10], qrels, list(ir_measures.read_trec_run(run))
    )[ir_measures.nDCG @ 10],
    "trec_eval": lambda run, qrels: trec_eval(run, qrels),
    "ranx": lambda run, qrels: ranx(run, qrels),
}


def trec_eval(run, qrels):
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    with Path(run).open() as file:
        found = evaluator.evaluate(pytrec_eval.parse_run(file))
    return sum(values["ndcg_cut_10"] for values in found.values()) / len(qrels)


def ranx(run, qrels):
    library = pytest.importorskip("ranx")
    found = library.Run.from_file(run, kind="trec")
    return library.evaluate(library.Qrels(qrels), found, "ndcg@10", make_comparable=True)


@pytest.mark.parametrize("reader", READERS)
def test_others_read_the_runs(published, experiment, reader):
    qrels = beir.read_qrels(experiment / "data/collection", "test")
    found = READERS[reader](str(published / "runs/test/dense.txt"), qrels)
    expected = read_json(published / "compare.json")["systems"]["dense"]["nDCG@10"]["mean"]
    assert found == pytest.approx(expected, abs=1e-9)


def test_pyserini_and_trectools_read_the_runs(published, experiment):
    import pyserini.trectools
    import trectools

    run, qrels = (
        str(published / "runs/test/dense.txt"),
        beir.read_qrels(experiment / "data/collection", "test"),
    )
    for library in (pyserini.trectools, trectools):
        assert set(map(str, library.TrecRun(run).topics())) == set(qrels)


def test_a_hub_gets_the_folder(published, experiment, tmp_path):
    with hub() as (address, stored):
        at = f"HF_HUB_DISABLE_TELEMETRY=1 HF_ENDPOINT={address} python -m tools.publish"
        sh(experiment, f"env HF_TOKEN=right {at} {tmp_path / 'mine'} --push me/mine")
        with pytest.raises(AssertionError, match=r"publish: me/other: not uploaded \(.*401"):
            sh(experiment, f"env HF_TOKEN=wrong {at} {tmp_path / 'other'} --push me/other")
    files = {str(p.relative_to(published)): p for p in published.rglob("*") if p.is_file()}
    assert stored["me/mine"].keys() == files.keys()
    assert {p: len(content) for p, content in stored["me/mine"].items() if "README" not in p} == {
        p: path.stat().st_size for p, path in files.items() if "README" not in p
    }


@pytest.mark.slow
def test_a_hub_that_is_not_there(published, experiment, tmp_path):
    with pytest.raises(
        AssertionError, match=r"publish: me/x: not uploaded .* is whole: `hf upload"
    ):
        command = f"python -m tools.publish {tmp_path / 'x'} --push me/x"
        sh(experiment, f"env HF_TOKEN=x HF_ENDPOINT=http://127.0.0.1:9 {command}")


def test_figures_of_another_encoder_are_not_published(published, experiment, tmp_path):
    file = experiment / "params.yaml"
    before = file.read_text()
    file.write_text(before.replace("temperature: 0.05", "temperature: 0.06", 1))
    try:
        with pytest.raises(
            AssertionError, match=r"the figures are of earlier code or parameters \(other: train"
        ):
            sh(experiment, f"python -m tools.publish {tmp_path / 'y'}")
    finally:
        file.write_text(before)


def test_a_folder_that_is_there_is_left_alone(published, experiment):
    with pytest.raises(AssertionError, match="is there already; name a new folder"):
        sh(experiment, f"python -m tools.publish {published}")
