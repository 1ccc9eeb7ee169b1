"""The index artifact, its search and rescoring, and the audit."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import (
    asked,
    brute_force,
    build_and_open,
    make_embeddings,
    make_queries,
    search,
)

from dpr.base.errors import InputError
from dpr.base.files import read_json, write_json
from dpr.indexes import audit as audit_module
from dpr.indexes.audit import audit, recall, require_recall
from dpr.indexes.exact_search import Resources, exact_search
from dpr.indexes.index import Index
from dpr.records.types import Query
from dpr.similarity import SIMILARITIES


def searching(**changes):
    return PARAMS.search.model_copy(update=changes)


def test_the_manifest_describes_the_index(tmp_path):
    manifest = build_and_open(make_embeddings("l2"), tmp_path / "i").manifest
    expected = {"similarity": "l2", "normalized": False, "embeddings": "e", "encoder": "m"}
    expected |= {"count": 500, "dimension": 16, "kind": "flat"}
    assert manifest.items() >= expected.items()


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("flat", {"embeddings": "f"}, "i: built from different embeddings"),
        ("flat", {"max_norm": None}, r"'max_norm' is missing or damaged; index again"),  # earlier
        ("flat", {"max_norm": [1]}, r"'max_norm' is missing or damaged; index again"),
        ("flat", {"dimension": 0}, r"damaged \(does not fit its embeddings\); index again"),
        ("flat", {"dimension": 17}, r"damaged \(does not fit its embeddings\); index again"),
        ("ivf", {"dimension": 6}, r"damaged \(does not fit its index\.faiss\); index again"),
        ("ivf", {"dimension": 17}, r"damaged \(does not fit its embeddings\); index again"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path, kind, changes, message):
    embeddings, path = make_embeddings("cosine"), tmp_path / "i/manifest.json"
    build_and_open(embeddings, tmp_path / "i", kind=kind)
    manifest = read_json(path) | changes
    if changes == {"max_norm": None}:
        del manifest["max_norm"]
    write_json(path, manifest)
    with pytest.raises(InputError, match=message):
        Index.open(tmp_path / "i", embeddings)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:99] + b"x" + b[100:]])
def test_a_damaged_index_is_refused(tmp_path, damage):
    embeddings = make_embeddings("dot")
    build_and_open(embeddings, tmp_path / "i", kind="ivf")
    path = tmp_path / "i" / "index.faiss"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"index\.faiss: missing or damaged"):
        Index.open(tmp_path / "i", embeddings)


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw", "sq8"])
def test_a_large_top_k_gives_all_passages(tmp_path, kind):
    embeddings = make_embeddings("cosine", count=5)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind)
    run = search(index, ["q"], embeddings.vectors[:1], 1000)
    assert sorted(run["q"]) == ["d0", "d1", "d2", "d3", "d4"]


def test_the_padding_of_faiss_is_dropped(tmp_path):
    """FAISS pads with row -1, which would silently be the last passage."""
    index = build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="ivf", nlist=50)
    query = make_queries("cosine", 1)
    rows = index.search(query, 500, nprobe=1)[1]
    assert (rows == -1).any()
    assert len(search(index, ["q"], query, 500, nprobe=1)["q"]) == (rows >= 0).sum()


def test_vectors_of_another_dimension_are_refused(tmp_path):
    index = build_and_open(make_embeddings("dot"), tmp_path / "i")
    with pytest.raises(InputError, match="8 dimensions, but the index was made from vectors of 16"):
        search(index, ["q"], np.zeros((1, 8), np.float32), 3)


def test_a_candidate_list_that_is_too_short_is_an_error(tmp_path):
    index = build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="hnsw")
    with pytest.raises(InputError, match="ef_search: a list of 19 cannot hold the 20 passages"):
        index.search(make_queries("cosine", 1), 20, ef=19)


@pytest.mark.parametrize("factory", ["RR16,IVF16,Flat", "IVF16,Flat,RFlat", "RR16,HNSW16"])
def test_settings_of_each_search_reach_the_inner_index(tmp_path, factory):
    embeddings, vectors = make_embeddings("cosine", count=1000), make_queries("cosine", 20)
    index = build_and_open(embeddings, tmp_path / "i", kind=factory)
    exact, first = exact_search(embeddings, vectors, 10)[1], index.search(vectors, 10)
    assert recall(index.search(vectors, 10, nprobe=16, ef=900)[1], exact, 10) > 0.99
    assert recall(index.search(vectors, 10, nprobe=1, ef=10)[1], exact, 10) < 0.99
    defaults = {"nprobe": 4, "ef": 20}  # a quarter of the cells, and twice the depth
    for again in (index.search(vectors, 10), index.search(vectors, 10, **defaults)):
        np.testing.assert_array_equal(again, first)


# --- rescoring


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dimension", [None, 8])
def test_rescored_candidates_have_the_scores_of_numpy(similarity, dimension):
    embeddings = make_embeddings(similarity, dtype=np.float16)
    queries = SIMILARITIES[similarity].truncate(make_queries(similarity, 6), dimension)
    passages = SIMILARITIES[similarity].truncate(embeddings.vectors, dimension)
    manifest = {"similarity": similarity, "dimension": dimension or 16, "vector_dimension": 16}
    hundred_pairs = Resources(100 * 4 * (4 * 16) / 2**30)  # so that there are several blocks
    index = Index(None, embeddings, manifest, 0, hundred_pairs)
    rng = np.random.default_rng(3)
    candidates = np.stack([rng.permutation(500)[:40] for _ in queries])
    candidates[2, 30:] = -1  # an index may find fewer
    scores, rows = index.rescored(queries, candidates, 35)
    for number, query in enumerate(queries.astype(np.float64)):
        own = candidates[number][candidates[number] >= 0]
        exact = brute_force(similarity, query, passages[own].astype(np.float64))
        order = np.argsort(-exact)[:35]
        assert rows[number][rows[number] >= 0].tolist() == own[order].tolist()
        np.testing.assert_allclose(scores[number][: len(order)], exact[order], rtol=1e-4, atol=1e-6)
    assert (rows[2, 30:] == -1).all()


@pytest.mark.parametrize("kind", ["lsh", pytest.param("pq", marks=pytest.mark.slow)])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_rescoring_finds_more_and_scores_exactly(tmp_path, kind, similarity):
    embeddings, queries = make_embeddings(similarity, count=2000), make_queries(similarity, 30)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind, train_sample=500)
    exact_scores, exact = exact_search(embeddings, queries, 10)
    plain = recall(index.search(queries, 10)[1], exact, 10)
    scores, rows = index.search(queries, 10, rescore=400)
    assert recall(rows, exact, 10) > plain + 0.2
    same = rows == exact
    np.testing.assert_allclose(scores[same], exact_scores[same], rtol=1e-5)


# --- the audit


def test_recall_by_hand():
    rows, exact = np.array([[3, 1, 9], [5, -1, -1]]), np.array([[1, 2, 3], [5, 6, 7]])
    assert recall(rows, exact, 3) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert recall(rows, exact, 1) == pytest.approx(1 / 2)


def test_the_audit_of_a_poor_index(tmp_path):
    embeddings, vectors = make_embeddings("cosine", count=1500), make_queries("cosine", 30)
    index = build_and_open(embeddings, tmp_path / "i", kind="ivf", nlist=30)
    exact = exact_search(embeddings, vectors, 1000)[1]
    qrels = {str(q): {f"d{row}": 1 for row in exact[q, :3]} for q in range(30)}
    metrics, tradeoff, _ = audit(index, asked(30), vectors, qrels, searching(top_k=1000, nprobe=1))
    rows = index.search(vectors, 1000, nprobe=1)[1]
    for depth in (10, 100, 1000):
        assert metrics[f"recall@{depth}"] == recall(rows, exact, depth)
    size = (tmp_path / "i" / "index.faiss").stat().st_size
    assert metrics["bytes_per_vector"] == pytest.approx(size / 1500, abs=0.01)
    # Exact search finds the three relevant ones first, in any order: its nDCG is 1.
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = [np.isin(rows[q, :10], exact[q, :3]) @ discounts for q in range(30)]
    lost = 1 - np.mean(gains) / discounts[:3].sum()
    assert metrics["nDCG@10_lost"] == pytest.approx(lost) != 0
    curve = {value: at_10 for _, value, at_10 in tradeoff}
    assert list(curve) == [1, 2, 4, 8, 16]
    assert curve[1] == metrics["recall@10"] < curve[16]
    message = r"there: recall@10 .*min_recall 0\.99: raise search\.nprobe"
    with pytest.raises(InputError, match=message):
        require_recall(metrics, 0.99, "there")
    require_recall(metrics, metrics["recall@10"], "there")


def test_the_audit_searches_as_a_run_does(tmp_path):
    """With top_k 10, the default ef_search is 20 and recall@100 is not reported."""
    embeddings, vectors = make_embeddings("cosine", count=3000), make_queries("cosine", 40)
    index = build_and_open(embeddings, tmp_path / "i", kind="hnsw", hnsw_m=4, ef_construction=8)
    metrics = audit(index, asked(40), vectors, {"0": {"d1": 1}}, searching(top_k=10)).metrics
    exact = exact_search(embeddings, vectors, 10)[1]
    assert metrics["recall@10"] == recall(index.search(vectors, 10, ef=20)[1], exact, 10)
    assert metrics["recall@10"] < recall(index.search(vectors, 10, ef=999)[1], exact, 10)
    assert not {"recall@100", "recall@1000"} & metrics.keys()


def test_the_audit_leaves_out_a_querys_own_passage_as_a_run_does(tmp_path):
    """Each query is a passage of the collection and finds itself first, judged or not."""
    embeddings = make_embeddings("cosine", count=1500)
    index = build_and_open(embeddings, tmp_path / "i", kind="ivf", nlist=30)
    query_ids, vectors = embeddings.ids[:40], embeddings.vectors[:40]
    exact = exact_search(embeddings, vectors, 12)[1]
    rows = index.search(vectors, 12, nprobe=1)[1]
    assert (exact[:, 0] == range(40)).all() and (rows[:, 0] == range(40)).all()
    # Relevant: the second passage, and the query itself, which is first.
    qrels = {q: {q: 1, f"d{second}": 1} for q, second in zip(query_ids, exact[:, 1], strict=True)}
    queries = [Query(query_id, "", is_passage=True) for query_id in query_ids]
    metrics = audit(index, queries, vectors, qrels, searching(nprobe=1, top_k=11)).metrics
    # Of two relevant passages, exact search has one at the first rank. The index may miss it.
    gain = (rows[:, 1:11] == exact[:, [1]]) @ (1 / np.log2(np.arange(2, 12)))
    ideal = 1 + 1 / np.log2(3)
    assert metrics["nDCG@10_lost"] == pytest.approx((1 - gain.mean()) / ideal) != 0


def test_the_audit_reports_the_gain_of_rescoring(tmp_path):
    embeddings, vectors = make_embeddings("cosine", count=1500), make_queries("cosine", 30)
    index = build_and_open(embeddings, tmp_path / "i", kind="lsh")
    settings = searching(top_k=100, rescore=300)
    metrics = audit(index, asked(30), vectors, {"0": {"d1": 1}}, settings).metrics
    exact = exact_search(embeddings, vectors, 100)[1]
    plain = index.search(vectors, 100)[1]
    for depth in (10, 100):
        before = metrics["without_rescoring"][f"recall@{depth}"]
        assert before == recall(plain, exact, depth) < metrics[f"recall@{depth}"]


def test_a_flat_index_is_searched_once(tmp_path, monkeypatch):
    """It is exact search, and there is nothing to compare it with."""
    searches = []
    monkeypatch.setattr(
        audit_module, "exact_search", lambda *given: searches.append(1) or exact_search(*given)
    )
    monkeypatch.setattr(Index, "search", None)
    index = build_and_open(make_embeddings("l2"), tmp_path / "i")
    settings = searching(top_k=1000)
    metrics = audit(index, asked(5), make_queries("l2", 5), {"0": {"d1": 1}}, settings).metrics
    assert len(searches) == 1
    assert {metrics[f"recall@{k}"] for k in (10, 100)} == {1.0}
    assert metrics["nDCG@10_lost"] == 0
