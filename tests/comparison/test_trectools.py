"""Where trectools' measures agree with trec_eval's, and where they do not."""

import math

import pandas as pd
import pytest
from trectools import TrecEval, TrecQrel, TrecRun

from dpr.measures import by_topic, means
from dpr.runs import trec


def test_when_trectools_and_trec_eval_agree_and_why_not_otherwise(tmp_path):
    """They agree on a topic if something relevant is found and no scores are tied."""
    qrels = {"1": {"a": 2, "b": 1, "c": 0}, "2": {"a": 1}, "3": {"z": 1}, "4": {"k": 1}}
    run = {
        "1": {"c": 3.0, "b": 2.0, "a": 1.0},
        "2": {"a": 1.0, "x": 1.0},  # tied
        "4": {"x": 1.0},  # nothing relevant; topic 3 is missing
        "5": {"a": 1.0},  # not judged
    }
    trec.write_run(tmp_path / "run.txt", run, tag="t")
    judged = TrecQrel()
    judged.qrels_data = pd.DataFrame(
        [(q, "0", d, g) for q, grades in qrels.items() for d, g in grades.items()],
        columns=["query", "q0", "docid", "rel"],
    )
    theirs = TrecEval(TrecRun(str(tmp_path / "run.txt")), judged)
    # Its reader makes numbers of ids and sorts ties by id ascending.
    ndcg = theirs.get_ndcg(depth=10, per_query=True)["NDCG@10"].to_dict()
    ours = by_topic(qrels, run, ["nDCG@10"])["nDCG@10"]
    assert ndcg["1"] == pytest.approx(ours["1"])
    assert (ndcg["2"], ours["2"]) == (pytest.approx(1), pytest.approx(1 / math.log2(3)))
    for query_id in ("3", "4"):
        assert math.isnan(ndcg[query_id])
        assert ours[query_id] == 0
    # theirs: the sum over the 4 topics of the run, topic 5 among them; ours: the 4 judged ones
    assert theirs.get_ndcg(depth=10) == pytest.approx((ndcg["1"] + ndcg["2"]) / 4)
    assert means({"nDCG@10": ours})["nDCG@10"] == pytest.approx((ours["1"] + ours["2"]) / 4)
