"""The artifact of an index, and what its audit says."""

import numpy as np
import pytest
from helpers import PARAMS
from index_helpers import asked, build_and_open, make_embeddings, search

from dpr.base.errors import InputError
from dpr.base.files import read_json, write_json
from dpr.indexes import audit as audit_module
from dpr.indexes.audit import audit, recall, require_recall
from dpr.indexes.exact_search import exact_search
from dpr.indexes.index import Index
from dpr.records.types import Query


def test_the_manifest_says_what_the_index_is(tmp_path):
    manifest = build_and_open(make_embeddings("l2"), tmp_path / "i").manifest
    expected = {"similarity": "l2", "normalized": False, "embeddings": "e", "encoder": "m"}
    expected |= {"count": 500, "dimension": 16, "kind": "flat"}
    assert manifest.items() >= expected.items()


def test_an_index_of_other_embeddings_is_refused(tmp_path):
    embeddings = make_embeddings("dot")
    build_and_open(embeddings, tmp_path / "i")
    embeddings.manifest["sha256"] = "f"
    with pytest.raises(InputError, match="i: built from different embeddings"):
        Index.open(tmp_path / "i", embeddings)


def test_an_index_of_an_earlier_version_is_refused(tmp_path):
    embeddings = make_embeddings("dot")
    build_and_open(embeddings, tmp_path / "i")
    manifest = read_json(tmp_path / "i/manifest.json")
    del manifest["max_norm"]
    write_json(tmp_path / "i/manifest.json", manifest)
    with pytest.raises(InputError, match=r"i: an index of an earlier version; index again"):
        Index.open(tmp_path / "i", embeddings)
    write_json(tmp_path / "i/manifest.json", manifest | {"max_norm": [1]})  # found by fuzzing
    with pytest.raises(InputError, match=r"manifest\.json: 'max_norm' is damaged; index again"):
        Index.open(tmp_path / "i", embeddings)


@pytest.mark.parametrize(
    ("kind", "dimension"),
    [("ivf", 6), ("ivf", 0), ("ivf", 17), ("flat", 0), ("flat", 17)],  # 6 was found by fuzzing
)
def test_another_dimension_in_the_manifest_is_seen(tmp_path, kind, dimension):
    embeddings = make_embeddings("cosine")
    build_and_open(embeddings, tmp_path / "i", kind=kind)
    manifest = read_json(tmp_path / "i/manifest.json")
    write_json(tmp_path / "i/manifest.json", manifest | {"dimension": dimension})
    with pytest.raises(InputError, match=r"manifest\.json: damaged \(does not fit its"):
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
def test_a_large_top_k_gives_all(tmp_path, kind):
    embeddings = make_embeddings("cosine", count=5)
    index = build_and_open(embeddings, tmp_path / "i", kind=kind)
    found = search(index, ["q"], embeddings.vectors[:1], 1000)
    assert sorted(found["q"]) == ["d0", "d1", "d2", "d3", "d4"]


def test_what_faiss_does_not_find_is_dropped(tmp_path):
    """FAISS pads with row -1, which would silently be the last passage."""
    index = build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="ivf", nlist=50)
    query = make_embeddings("cosine", count=1, seed=1).vectors
    rows = index.search(query, 500, nprobe=1)[1]
    assert (rows == -1).any()
    found = search(index, ["q"], query, 500, nprobe=1)["q"]
    assert len(found) == (rows >= 0).sum()


# --- the audit


def test_recall_by_hand():
    rows, exact = np.array([[3, 1, 9], [5, -1, -1]]), np.array([[1, 2, 3], [5, 6, 7]])
    assert recall(rows, exact, 3) == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert recall(rows, exact, 1) == pytest.approx(1 / 2)


def test_the_audit_of_a_poor_index(tmp_path):
    embeddings = make_embeddings("cosine", count=1500)
    vectors = make_embeddings("cosine", count=30, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind="ivf", nlist=30)
    exact = exact_search(embeddings, vectors, 1000)[1]
    qrels = {str(q): {f"d{row}": 1 for row in exact[q, :3]} for q in range(30)}
    settings = PARAMS.search.model_copy(update={"nprobe": 1})
    found = audit(index, asked(30), vectors, qrels, settings)
    rows = index.search(vectors, 1000, nprobe=1)[1]
    for depth in (10, 100, 1000):
        assert found.metrics[f"recall@{depth}"] == recall(rows, exact, depth)
    size = (tmp_path / "i" / "index.faiss").stat().st_size
    assert found.metrics["bytes_per_vector"] == pytest.approx(size / 1500, abs=0.01)
    # Exact search finds the three relevant ones first, in any order: its nDCG is 1.
    discounts = 1 / np.log2(np.arange(2, 12))
    gains = [np.isin(rows[q, :10], exact[q, :3]) @ discounts for q in range(30)]
    lost = 1 - np.mean(gains) / discounts[:3].sum()
    assert found.metrics["nDCG@10_lost"] == pytest.approx(lost) != 0
    curve = {value: at_10 for _, value, at_10 in found.tradeoff}
    assert list(curve) == [1, 2, 4, 8, 16]
    assert curve[1] == found.metrics["recall@10"] < curve[16]
    with pytest.raises(
        InputError, match=r"there: recall@10 .*min_recall 0\.99: raise search\.nprobe"
    ):
        require_recall(found.metrics, 0.99, "there")
    require_recall(found.metrics, found.metrics["recall@10"], "there")


def test_the_audit_searches_as_a_run_does(tmp_path):
    """With top_k 10, the default ef_search is 20 and recall@100 is not reported."""
    embeddings = make_embeddings("cosine", count=3000)
    vectors = make_embeddings("cosine", count=40, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind="hnsw", hnsw_m=4, ef_construction=8)
    settings = PARAMS.search.model_copy(update={"top_k": 10})
    found = audit(index, asked(40), vectors, {"0": {"d1": 1}}, settings)
    exact = exact_search(embeddings, vectors, 10)[1]
    assert found.metrics["recall@10"] == recall(index.search(vectors, 10, ef=20)[1], exact, 10)
    assert found.metrics["recall@10"] < recall(index.search(vectors, 10, ef=999)[1], exact, 10)
    assert not {"recall@100", "recall@1000"} & found.metrics.keys()


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
    changes = {"nprobe": 1, "top_k": 11}
    settings = PARAMS.search.model_copy(update=changes)
    themselves = [Query(query_id, "", is_passage=True) for query_id in query_ids]
    found = audit(index, themselves, vectors, qrels, settings)
    # Of two relevant ones exact search has one at the first rank; the index, where it finds it.
    there = (rows[:, 1:11] == exact[:, [1]]) @ (1 / np.log2(np.arange(2, 12)))
    ideal = 1 + 1 / np.log2(3)
    assert found.metrics["nDCG@10_lost"] == pytest.approx((1 - there.mean()) / ideal) != 0


def test_a_list_too_short_for_what_is_asked_is_an_error(tmp_path):
    index = build_and_open(make_embeddings("cosine"), tmp_path / "i", kind="hnsw")
    with pytest.raises(InputError, match="ef_search: a list of 19 cannot hold the 20 passages"):
        index.search(make_embeddings("cosine", count=1).vectors, 20, ef=19)


@pytest.mark.parametrize("factory", ["RR16,IVF16,Flat", "IVF16,Flat,RFlat", "RR16,HNSW16"])
def test_settings_reach_the_index_within(tmp_path, factory):
    embeddings = make_embeddings("cosine", count=1000)
    vectors = make_embeddings("cosine", count=20, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i", kind=factory)
    exact = exact_search(embeddings, vectors, 10)[1]
    assert recall(index.search(vectors, 10, nprobe=16, ef=900)[1], exact, 10) > 0.99
    assert recall(index.search(vectors, 10, nprobe=1, ef=10)[1], exact, 10) < 0.99


def test_a_flat_index_is_searched_once(tmp_path, monkeypatch):
    """It is exact search, and has nothing to be compared with."""
    searched = []
    monkeypatch.setattr(
        audit_module,
        "exact_search",
        lambda *given: searched.append(len(given[1])) or exact_search(*given),
    )
    monkeypatch.setattr(Index, "search", None)
    embeddings = make_embeddings("l2")
    vectors = make_embeddings("l2", count=5, seed=1).vectors
    index = build_and_open(embeddings, tmp_path / "i")
    qrels = {"0": {"d1": 1}}
    found = audit(index, asked(5), vectors, qrels, PARAMS.search).metrics
    assert searched == [5]
    assert {found[f"recall@{k}"] for k in (10, 100, 1000)} == {1.0}
    assert found["nDCG@10_lost"] == 0
