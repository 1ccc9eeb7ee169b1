"""Against trec_eval's own regression test and a published run, if they are there."""

import ftfy
import pytest
import pytrec_eval
from helpers import SHARED, needs_shared, train

from dpr import measures
from dpr.bm25 import lucene
from dpr.evaluation import comparison
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.runs import trec
from dpr.sources import text_pairs
from dpr.sources.reading import Findings

ORACLE = SHARED / "oracle"
pytestmark = needs_shared

# trec_eval's name of each measure
NAMES = {
    "nDCG@10": "ndcg_cut_10",
    "nDCG@100": "ndcg_cut_100",
    "AP": "map",
    "RR": "recip_rank",
    "P@10": "P_10",
    "P@30": "P_30",
    "recall@100": "recall_100",
    "recall@1000": "recall_1000",
    "Rprec": "Rprec",
    "Bpref": "bpref",
}


def read_qrels(name):
    with (ORACLE / name).open() as file:
        return pytrec_eval.parse_qrel(file)


def expected(name):
    """{(measure, topic or "all"): text as printed} of one of trec_eval's outputs."""
    rows = (line.split() for line in (ORACLE / "trec_eval" / name).read_text().splitlines())
    return {(row[0], row[1]): row[2] for row in rows if len(row) == 3}


def computed(qrels, run, topics=None):
    qrels = read_qrels(f"trec_eval/{qrels}")
    run = trec.read_run(ORACLE / "trec_eval" / run)
    # Without -c, trec_eval averages over the topics that are both judged and in the run.
    qrels = {query_id: qrels[query_id] for query_id in topics or qrels if query_id in qrels}
    return measures.by_topic(qrels, run, list(NAMES))


@pytest.mark.parametrize(
    ("qrels", "run", "output"),
    [
        ("qrels.test", "results.test", "out.test.aq"),
        ("qrels.test", "results.trunc", "out.test.aqc"),
        ("qrels.comment.test", "results.comment.test", "out.comment.test"),
    ],
)
def test_every_measure_to_its_four_digits(qrels, run, output):
    reference = expected(output)
    judged = read_qrels(f"trec_eval/{qrels}")
    found = trec.read_run(ORACLE / "trec_eval" / run)
    complete = output.endswith("c")
    topics = list(judged) if complete else [q for q in found if q in judged]
    values = computed(qrels, run, topics)
    checked = 0
    for measure, by_query in values.items():
        name = NAMES[measure]
        if (name, "all") in reference:
            assert f"{measures.means({measure: by_query})[measure]:.4f}" == reference[name, "all"]
            checked += 1
        for query_id, value in by_query.items():
            if (name, query_id) in reference:
                assert f"{value:.4f}" == reference[name, query_id], (measure, query_id)
                checked += 1
    assert checked >= len([n for n in NAMES.values() if (n, "all") in reference]) > 5


@pytest.mark.parametrize(
    ("name", "output"), [("test", "out.test.aq"), ("comment.test", "out.comment.test")]
)
def test_interpolated_precision_to_its_four_digits(name, output):
    reference = expected(output)
    judged = read_qrels(f"trec_eval/qrels.{name}")
    found = trec.read_run(ORACLE / f"trec_eval/results.{name}")
    values = comparison.precision_by_recall({q: judged[q] for q in found if q in judged}, found)
    printed = {f"iprec_at_recall_{level:.2f}": f"{value:.4f}" for level, value in values.items()}
    assert printed == {name: reference[name, "all"] for name in printed}


def test_the_published_bm25_run_on_cacm():
    qrels = read_qrels("cacm-bm25/qrels.cacm.txt")
    run = trec.read_run(ORACLE / "cacm-bm25/cacm-bm25.run.txt")
    values = measures.by_topic(qrels, run, ["P@30"])
    assert f"{measures.means(values)['P@30']:.4f}" == "0.1942"


def test_our_bm25_on_cacm_is_near_the_published_one(tmp_path):
    """Anserini's MAP .3123 and P@30 .1942, with the judgments as published.

    55 of those name documents by an id that no document has ("CACM-756" for "CACM-0756").
    """
    folder = SHARED / "collections/cacm"
    lucene.build_index(Corpus(folder, " ").texts(), tmp_path / "index")
    qrels = read_qrels("cacm-bm25/qrels.cacm.txt")
    queries = beir.read_queries(folder)
    run = lucene.search(tmp_path / "index", [queries[q] for q in qrels], 0.9, 0.4, 1000, 2)
    values = measures.means(measures.by_topic(qrels, run, ["AP", "P@30"]))
    assert values["AP"] == pytest.approx(0.3123, abs=0.01)
    assert values["P@30"] == pytest.approx(0.1942, abs=0.01)


def test_the_mojibake_of_real_ms_marco_triples_is_repaired(tmp_path):
    """A third of the 100 triples carries it, by ftfy's own detector; afterwards none does."""
    path = SHARED / "collections/msmarco-sample/triples.tsv"
    raw = list(text_pairs.read_triples([path], " ", Findings()))
    assert sum(any(map(ftfy.is_bad, (e.query, *e.passages))) for e in raw) == 35
    manifest = train(f"triples:{path}", tmp_path, held_out=20)
    texts = [p.text for p in beir.read_passages(tmp_path)]
    damaged = {text for e in raw for text in e.passages if ftfy.is_bad(text)}
    assert manifest["passages"]["repaired"] >= len(damaged)
    assert not any(ftfy.is_bad(text) for text in texts)
    assert any("We don't know a lot about the effects of caffeine" in text for text in texts)
    assert manifest["pairs"]["with_negatives"] == manifest["pairs"]["count"] == 80
