"""What is published loads elsewhere, and says what the metrics say."""

import contextlib
from pathlib import Path

import huggingface_hub
import ir_measures
import numpy as np
import pytest
import pytrec_eval
from hub import hub

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.encoders import checkpoint
from dpr.records import beir
from tools import publish


@pytest.fixture(scope="module")
def published(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "encoder"
    with contextlib.chdir(experiment):
        publish.main(folder, None)
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


def by_ir_measures(run, qrels):
    measure = ir_measures.nDCG @ 10
    return ir_measures.calc_aggregate([measure], qrels, ir_measures.read_trec_run(run))[measure]


def by_trec_eval(run, qrels):
    with Path(run).open() as file:
        found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(
            pytrec_eval.parse_run(file)
        )
    return sum(values["ndcg_cut_10"] for values in found.values()) / len(qrels)


def by_ranx(run, qrels):
    library = pytest.importorskip("ranx")
    found = library.Run.from_file(run, kind="trec")
    return library.evaluate(library.Qrels(qrels), found, "ndcg@10", make_comparable=True)


@pytest.mark.parametrize("reader", [by_ir_measures, by_trec_eval, by_ranx])
def test_others_read_the_runs(published, experiment, reader):
    qrels = beir.read_qrels(experiment / "data/collection", "test")
    expected = read_json(published / "compare.json")["systems"]["dense"]["nDCG@10"]["mean"]
    assert reader(f"{published}/runs/test/dense.txt", qrels) == pytest.approx(expected, abs=1e-9)


def test_pyserini_and_trectools_read_the_runs(published, experiment):
    import pyserini.trectools
    import trectools

    qrels = beir.read_qrels(experiment / "data/collection", "test")
    for library in (pyserini.trectools, trectools):
        run = library.TrecRun(f"{published}/runs/test/dense.txt")
        assert set(map(str, run.topics())) == set(qrels)


@pytest.fixture
def in_hub(experiment, monkeypatch):
    """{repository: {path: bytes}} of a hub that publish.main uploads to."""
    monkeypatch.chdir(experiment)
    with hub() as (address, stored):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        yield stored


def test_a_hub_gets_the_folder(published, in_hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "right")
    publish.main(tmp_path / "mine", "me/mine")
    files = [path for path in published.rglob("*") if path.is_file()]
    sizes = {str(path.relative_to(published)): path.stat().st_size for path in files}
    assert {path: len(content) for path, content in in_hub["me/mine"].items()} == sizes


def test_a_hub_that_refuses(in_hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    with pytest.raises(InputError, match=r"me/other: not uploaded \(.*401.* is whole: `hf upload"):
        publish.main(tmp_path / "other", "me/other")
    assert (tmp_path / "other/README.md").exists()


@pytest.mark.slow
def test_a_hub_that_is_not_there(published, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"me/x: not uploaded .* is whole: `hf upload"):
        publish.upload(published, "me/x")


def test_an_existing_folder_is_left_alone(published):
    with pytest.raises(InputError, match="exists already; name a new folder"):
        publish.main(published, None)
