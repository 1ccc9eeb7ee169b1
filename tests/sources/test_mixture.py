"""Several sources as one."""

import pytest
from helpers import HEADER, train

from dpr.base.errors import InputError
from dpr.records import beir


def test_a_mixture_keeps_its_sources_apart_and_validates_by_each(folder, tmp_path):
    """Both have a passage d1 and a query q1; one of the two triples is held out."""
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td0\t1\n")
    triples = tmp_path / "triples.tsv"
    triples.write_text("what\tA muscle.\tA bone.\nwhere\tHere.\tThere.\n")
    examples = {("what", "A muscle.", "A bone."), ("where", "Here.", "There.")}
    manifest = train(f"beir:{folder} + triples:{triples}", tmp_path / "out")
    assert ["folder" in s for s in manifest["source"]["mixture"]] == [True, False]
    alone = tmp_path / "alone"
    train(f"beir:{folder}", alone)
    first = beir.read_pairs(alone)
    pairs = beir.read_pairs(tmp_path / "out")
    assert pairs[: len(first)] == first
    passages = {p.id: p.text for p in beir.read_passages(tmp_path / "out")}
    queries = beir.read_queries(tmp_path / "out")
    (last,) = pairs[len(first) :]
    trained = (queries[last.query_id].text, passages[last.passage_id])
    trained += tuple(passages[n] for n in last.negative_ids)
    assert trained in examples
    assert beir.read_qrels(tmp_path / "out", "train")[last.query_id] == {last.passage_id: 1}
    valid = beir.read_qrels(tmp_path / "out", "valid")
    assert valid.pop("q0") == {"d0": 1}
    ((query_id, grades),) = valid.items()
    (held,) = examples - {trained}
    assert (queries[query_id].text, *(passages[p] for p in grades)) == held[:2]
    numbers = {query.text: query.source for query in queries.values()}
    assert numbers == {"?": 1, "what": 2, "where": 2}


def test_a_source_without_pairs_is_named(folder, tmp_path):
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td0\t1\n")
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t0\n")
    (tmp_path / "p.tsv").write_text("a\tone\nb\ttwo\n")
    with pytest.raises(InputError, match=rf"data\.train: beir:{folder}: no training pairs"):
        train(f"pairs:{tmp_path / 'p.tsv'} + beir:{folder}", tmp_path / "out")
