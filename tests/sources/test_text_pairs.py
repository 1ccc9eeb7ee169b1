"""Texts without ids, against dictionaries; and what they need in memory."""

import random
import tracemalloc

import pytest
from helpers import DATA, train

from dpr.records import beir
from dpr.records.types import Pair
from dpr.sources import registry, write
from dpr.sources.mixture import mix
from dpr.sources.overlap import separate
from dpr.sources.types import Training

WORDS = ["heart", "lung", "caf\u00e9", "bone ", " skin"]


@pytest.mark.parametrize("kind", ["pairs", "triples"])
@pytest.mark.parametrize("limit", [None, 150])
def test_equal_texts_are_one_by_first_appearance(tmp_path, kind, limit):
    rng = random.Random(0)
    columns = 2 if kind == "pairs" else 3
    lines = [[" ".join(rng.choices(WORDS, k=2)) for _ in range(columns)] for _ in range(200)]
    (tmp_path / "f.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))
    name = f"{kind}:{tmp_path / 'f.tsv'}"
    manifest = train(name, tmp_path / "out", held_out=30, train_limit=limit)
    assert [rows["repeated"] for rows in manifest["judgments"].values()] == [0, 0]
    cleaned = [tuple(" ".join(text.split()) for text in line) for line in lines]
    queries = {q.id: q.text for q in beir.read_queries(tmp_path / "out").values()}
    passages = {p.id: p.text for p in beir.read_passages(tmp_path / "out")}
    if limit is None:
        texts = dict.fromkeys(query for query, *_ in cleaned)
        assert queries == {f"q{n}": text for n, text in enumerate(texts)}
        texts = dict.fromkeys(text for _, *own in cleaned for text in own)
        assert passages == {f"p{n}": text for n, text in enumerate(texts)}
    trained = [
        (queries[query_id], passages[passage_id], *(passages[n] for n in negatives))
        for query_id, passage_id, negatives in beir.read_pairs(tmp_path / "out")
    ]
    left = iter(cleaned)
    assert all(row in left for row in trained)  # in the order of the file
    valid = beir.read_qrels(tmp_path / "out", "valid")
    held = {queries[query_id] for query_id in valid}
    assert not held & {query for query, *_ in trained}
    if limit is None:
        assert trained == [row for row in cleaned if row[0] not in held]
    judged = {
        (queries[query_id], passages[passage_id])
        for split in ("train", "valid")
        for query_id, grades in beir.read_qrels(tmp_path / "out", split).items()
        for passage_id in grades
    }
    assert judged == {row[:2] for row in trained} | {row for row in judged if row[0] in held}
    assert len(queries) == len({query for query, _ in judged})


def test_memory_hardly_grows_with_the_pairs(folder, tmp_path):
    """No text stays in memory: a pair has 5,000 bytes, and adds less than 500."""
    peaks = {}
    for count in (100, 200, 1_000):
        lines = (f"what is {i}\tit is {i} {'x' * 5_000}\n" for i in range(count))
        (tmp_path / "f.tsv").write_text("".join(lines))
        changes = {"collection": f"beir:{folder}", "train": f"pairs:{tmp_path}/f.tsv"}
        data = DATA.model_copy(update=changes | {"held_out": 10})
        tracemalloc.start()
        collection, sources = registry.open_collection(data), registry.open_training(data)
        _, sources, _ = separate(collection, sources, "refuse")
        write.write_training(mix(data.sources, sources), tmp_path / "out", "pairs")
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert len(beir.read_pairs(tmp_path / "out")) == 990
    assert (peaks[1_000] - peaks[200]) / 800 < 500, peaks


def test_what_can_be_read_only_once_is_refused():
    with pytest.raises(TypeError, match="only once"):
        Training([], [], {"train": [], "valid": []}, (Pair("q", "p") for _ in "a"), {})
