"""What is published loads elsewhere, and says what the metrics say."""

import numpy as np
import pytest
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


def test_other_readers_read_the_runs(published, experiment):
    import ir_measures
    from trectools import TrecRun

    run = published / "runs/test/dense.txt"
    qrels = beir.read_qrels(experiment / "data/collection", "test")
    found = ir_measures.calc_aggregate(
        [ir_measures.nDCG @ 10], qrels, list(ir_measures.read_trec_run(str(run)))
    )
    expected = read_json(published / "compare.json")["systems"]["dense"]["nDCG@10"]["mean"]
    assert found[ir_measures.nDCG @ 10] == pytest.approx(expected, abs=1e-9)
    assert set(TrecRun(str(run)).topics()) == set(qrels)


def test_a_hub_gets_the_folder(published, experiment, tmp_path):
    with hub() as (address, stored):
        at = f"HF_HUB_DISABLE_TELEMETRY=1 HF_ENDPOINT={address} python -m tools.publish"
        sh(experiment, f"HF_TOKEN=right {at} {tmp_path / 'mine'} --push me/mine")
        with pytest.raises(AssertionError, match=r"publish: me/other: not uploaded \(.*401"):
            sh(experiment, f"HF_TOKEN=wrong {at} {tmp_path / 'other'} --push me/other")
    files = {str(p.relative_to(published)): p for p in published.rglob("*") if p.is_file()}
    assert stored["me/mine"].keys() == files.keys()
    assert {p: len(content) for p, content in stored["me/mine"].items() if "README" not in p} == {
        p: path.stat().st_size for p, path in files.items() if "README" not in p
    }


def test_a_folder_that_is_there_is_left_alone(published, experiment):
    with pytest.raises(AssertionError, match="is there already; name a new folder"):
        sh(experiment, f"python -m tools.publish {published}")
