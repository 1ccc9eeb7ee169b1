"""Several sources as one, against brute force: each query has a single purpose."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import DATA, HEADER, jsonl, train, training, write_params

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.types import Judgment, Pair, Query
from dpr.sources import registry
from dpr.sources.mixture import separate
from dpr.sources.types import Collection, Training
from stages import prepare


def records(first=(), second=(), trains=False, place="here"):
    """Queries as (id, text, relevant passage), of the two splits; ids come from `place`."""
    splits = ("train", "valid") if trains else ("test", "valid")
    fields = {
        "passages": [],
        "queries": [Query(q, text) for q, text, _ in [*first, *second]],
        "qrels": {
            split: [Judgment(q, p, 1) for q, _, p in rows]
            for split, rows in zip(splits, (first, second), strict=True)
        },
        "description": {},
        "id_space": place,
    }
    if trains:
        return Training(pairs=[Pair(q, p) for q, _, p in first], **fields)
    return Collection(**fields)


@pytest.mark.parametrize("seed", range(100))
def test_queries_with_two_purposes_against_brute_force(seed):
    rng = random.Random(seed)
    places = rng.choices(["here", "here", "there", None, None], k=3)
    numbers = rng.sample(range(100), 30)
    rows = [[f"{n}", f"caf\u00e9 {n}", f"d{n}"] for n in numbers]
    for _ in range(rng.randrange(4)):  # queries that are the same, or nearly so
        first, second = rng.sample(range(30), 2)
        one, other = rows[first], rows[second]
        if first // 10 == second // 10 or rng.random() < 0.3:  # ids differ within a source
            other[1] = one[1].upper().replace("\u00c9", "\u00c3\u0089") + " "
        else:
            other[0], other[2] = one[0], rng.choice([one[2], "dx"])
    parts = [(rows[10 * n : 10 * n + 5], rows[10 * n + 5 : 10 * n + 10]) for n in range(3)]
    if any(len({row[0] for row in [*a, *b]}) < 10 for a, b in parts):
        pytest.skip("an id twice in one source")
    collection = records(*parts[0], place=places[0])
    sources = [
        records(*part, trains=True, place=place)
        for part, place in zip(parts[1:], places[1:], strict=True)
    ]
    held = rng.randrange(3)  # this source held its validation queries out; 0: none did
    if held:
        own = {query_id for query_id, _, _ in parts[held][1]}
        sources[held - 1] = replace(sources[held - 1], held_out=own)

    def without(part, split, *others):
        """The rows of a part that are no query of the others, given as (part, rows)."""

        def same(row, place, known, other):
            texts = [r[1].replace("\u00c3\u0089", "\u00c9").strip().lower() for r in (row, known)]
            of_one_place = place == other is not None and (row[0], row[2]) == (known[0], known[2])
            return texts[0] == texts[1] or of_one_place

        return [
            row
            for row in parts[part][split]
            if not any(same(row, places[part], k, places[o]) for o, rows in others for k in rows)
        ]

    test = (0, parts[0][0])
    fusing = (0, without(0, 1, test))
    valid = [(n, without(n, 1, test)) for n in (1, 2)]
    trained = [without(n, 0, test, fusing, *valid) for n in (1, 2)]
    given = [part for part in valid if part[0] != held]
    refused = len(fusing[1]) + sum(len(rows) for _, rows in valid) < 15 or any(
        len(without(n, 0, test, fusing, *given)) < 5 for n in (1, 2)
    )
    if refused:
        with pytest.raises(InputError, match=r"are also judged or validate, for example '\d+'"):
            separate(collection, sources, "refuse")
    collection, sources, counts = separate(collection, sources, "drop" if refused else "refuse")
    ids = [[row.query_id for row in s.pairs] for s in sources]
    assert ids == [[row[0] for row in rows] for rows in trained]
    assert ids == [[row.query_id for row in s.qrels["train"]] for s in sources]
    for data, (_, rows) in zip([collection, *sources], [fusing, *valid], strict=True):
        assert [row.query_id for row in data.qrels["valid"]] == [row[0] for row in rows]
    assert [row.query_id for row in collection.qrels["test"]] == [row[0] for row in test[1]]
    assert counts == {
        "validation_queries_of_the_collection": 5 - len(fusing[1]),
        "validation_queries": 10 - sum(len(rows) for _, rows in valid),
        "training_queries": 10 - sum(map(len, trained)),
    }


def test_an_error_names_key_source_and_query_and_a_drop_is_printed(capsys):
    heart, bone = ("1", "Heart", "d1"), ("3", "bone", "d3")
    fusing = records([heart], [heart])
    with pytest.raises(InputError, match=r"data\.collection: 1 validation queries of the coll"):
        separate(fusing, [records([bone], trains=True)], "refuse")
    collection = records([heart], [])
    for rows, what in (([heart], []), "training"), (([bone], [heart]), "validation"):
        sources = [records([bone], trains=True), records(*rows, trains=True)]
        message = rf"data\.train: 1 {what} queries of source 2 .*'1' \('heart'\)"
        with pytest.raises(InputError, match=message):
            separate(collection, sources, "refuse")
        assert not capsys.readouterr().err
        separate(collection, sources, "drop")
        assert capsys.readouterr().err.endswith(f": 1 {what} queries\n")


def test_pairs_without_ids_all_train(tmp_path):
    """The pair at a place in one file has the ids of the pair at that place in the other."""
    for name, count in (("a", 200), ("b", 300)):  # so that different ones are held out
        lines = (f"question {name} {i}\tpassage {name} {i}\n" for i in range(count))
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
    names = " + ".join(f"pairs:{tmp_path / name}.tsv" for name in "ab")
    data = DATA.model_copy(update={"train": names, "held_out": 50})
    collection = records([("q3", "heart", "p3")])
    _, sources, counts = separate(collection, registry.open_training(data), "refuse")
    assert [len(list(source.pairs)) for source in sources] == [150, 250]
    assert not any(counts.values())


def test_a_folder_is_one_place_however_it_is_named(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "other")
    monkeypatch.chdir(folder.parent)
    data = DATA.model_copy(update={"collection": f"beir:{folder}", "held_out": 1})
    names = f"beir:{folder.name} + beir:{tmp_path / 'other'}"
    sources = registry.open_training(data.model_copy(update={"train": names}))
    same, different = (source.id_space for source in sources)
    assert same == registry.open_collection(data).id_space != different


def test_a_mixture_keeps_its_sources_apart_and_validates_by_each(folder, tmp_path):
    """Both have a passage d1 and a query q1; one of the two triples is held out."""
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td0\t1\n")
    triples = tmp_path / "triples.tsv"
    triples.write_text("what\tA muscle.\tA bone.\nwhere\tHere.\tThere.\n")
    examples = {("what", "A muscle.", "A bone."), ("where", "Here.", "There.")}
    manifest = train(f"beir:{folder} + triples:{triples}", tmp_path / "out")
    assert ["folder" in s for s in manifest["source"]["mixture"]] == [True, False]
    first = list(training(f"beir:{folder}").pairs)
    *pairs, last = beir.read_pairs(tmp_path / "out")
    assert pairs == first
    passages = {p.id: p.text for p in beir.read_passages(tmp_path / "out")}
    queries = beir.read_queries(tmp_path / "out")
    trained = (queries[last.query_id].text, passages[last.passage_id])
    trained += tuple(passages[n] for n in last.negative_ids)
    assert trained in examples
    assert beir.read_qrels(tmp_path / "out", "train")[last.query_id] == {last.passage_id: 1}
    valid = beir.read_qrels(tmp_path / "out", "valid")
    assert valid.pop("q0") == {"d0": 1}
    ((query_id, grades),) = valid.items()
    (held,) = examples - {trained}
    assert (queries[query_id].text, *(passages[p] for p in grades)) == held[:2]
    numbers = {query.text: query.mixture_source for query in queries.values()}
    assert numbers == {"?": 1, "what": 2, "where": 2}


def test_a_source_without_pairs_is_named(folder, tmp_path):
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q0\td0\t1\n")
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t0\n")
    (tmp_path / "p.tsv").write_text("a\tone\nb\ttwo\n")
    with pytest.raises(InputError, match=rf"data\.train: beir:{folder}: no training pairs"):
        training(f"pairs:{tmp_path / 'p.tsv'} + beir:{folder}")


def test_prepare_refuses_a_folder_that_trains_on_its_test_queries(folder, tmp_path, monkeypatch):
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"q1\td1\t1\n")
    (folder / "qrels/dev.tsv").write_bytes(HEADER + b"q2\td3\t1\n")
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t1\nq3\td2\t1\n")
    queries = ({"_id": f"q{i}", "text": f"text {i}"} for i in range(4))
    (folder / "queries.jsonl").write_bytes(jsonl(*queries))
    changes = {"data.collection": f"beir:{folder}", "data.train": f"beir:{folder}"}
    write_params(tmp_path / "params.yaml", changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data\.train: 1 training queries .*'q1' \('text 1'\)"):
        prepare.main()
    assert not Path("data").exists()
    write_params(tmp_path / "params.yaml", changes | {"data.overlap": "drop"})
    prepare.main()
    assert [pair.query_id for pair in beir.read_pairs("data/training")] == ["q3"]
    assert read_json("data/manifest.json")["dropped_for_overlap"]["training_queries"] == 1
