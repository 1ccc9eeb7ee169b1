"""Queries that are trained on and judged."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import HEADER, ROOT, jsonl, write_params

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.types import Judgment, Pair, Query
from dpr.settings import load_settings
from dpr.sources import beir_folder, irds, registry
from dpr.sources.overlap import separate
from dpr.sources.types import Collection, Training
from stages import prepare


def data(test=(), fusing=(), trained=(), validating=(), places=("here", "here")):
    """Queries as (id, text, relevant passage). `places`: of the ids of both."""

    def judged(rows):
        return [Judgment(q, p, 1) for q, _, p in rows]

    def queries(*parts):
        return [Query(q, text) for rows in parts for q, text, _ in rows]

    qrels = {"test": judged(test), "valid": judged(fusing)}
    collection = Collection([], queries(test, fusing), qrels, {}, ids_of=places[0])
    qrels = {"train": judged(trained), "valid": judged(validating)}
    pairs = [Pair(q, p) for q, _, p in trained]
    training = Training([], queries(trained, validating), qrels, pairs, {}, ids_of=places[1])
    return collection, [training]


OTHERS = [("9", "lung", "d9")]
KEPT = [("3", "bone", "d3")]


@pytest.mark.parametrize(
    "trained",
    [
        ("7", "  HEART caf\u00c3\u00a9 ", "d7"),  # the same text, once cleaned
        ("1", "another text of the topic", "d1"),  # the same id, and a passage in common
    ],
)
@pytest.mark.parametrize("purpose", ["test", "fusing", "validating"])
def test_a_query_of_two_purposes_is_found(trained, purpose):
    judged = [("1", "heart caf\u00e9", "d1")]
    parts = {"test": OTHERS, "validating": [("8", "bone", "d8")]} | {purpose: judged}
    found = data(trained=[trained, ("2", "skin", "d2")], **parts)
    with pytest.raises(InputError, match=rf"data\.train: 1 training queries .*'{trained[0]}'"):
        separate(*found, "refuse")
    _, (training,), counts = separate(*found, "drop")
    assert counts["training_queries"] == 1
    assert list(training.pairs) == [Pair("2", "d2")]
    assert list(training.qrels["train"]) == [Judgment("2", "d2", 1)]


def test_a_duplicate_of_a_held_out_query_is_dropped():
    collection, (training,) = data(
        test=OTHERS, validating=[("1", "heart", "d1")], trained=[("2", "Heart", "d2"), *KEPT]
    )
    with pytest.raises(InputError, match=r"data\.train: 1 training queries"):
        separate(collection, [training], "refuse")
    _, (found,), counts = separate(collection, [replace(training, held_out={"1"})], "refuse")
    assert counts["training_queries"] == 1
    assert [pair.query_id for pair in found.pairs] == ["3"]


def test_the_same_id_alone_says_nothing():
    """Ids of two sources coincide by chance."""
    found = data(test=[("1", "heart", "d1")], trained=[("1", "lung", "d2")])
    _, (training,), _ = separate(*found, "refuse")
    assert list(training.pairs) == [Pair("1", "d2")]


@pytest.mark.parametrize("places", [("here", "there"), ("here", None), (None, None)])
@pytest.mark.parametrize("purpose", ["test", "fusing", "validating"])
def test_ids_of_two_places_say_nothing(places, purpose):
    """Small numbers coincide by chance, and `q3` is the third text in any file of pairs."""
    topics = {"test": OTHERS, purpose: [("3", "heart", "d3")]}
    (training,) = data(trained=KEPT, places=places)[1]
    collection, others = data(**topics, places=places[:1] * 2)
    _, kept, counts = separate(collection, [*others, training], "refuse")
    assert list(kept[-1].pairs) == [Pair("3", "d3")]
    assert not any(counts.values())
    topics[purpose] = [("3", " BONE", "d9")]  # texts are compared in any case
    collection, others = data(**topics, places=places[:1] * 2)
    with pytest.raises(InputError, match=r"1 training queries of source 2 .*'3'"):
        separate(collection, [*others, training], "refuse")


def test_pairs_that_are_numbered_here_all_train(tmp_path):
    """The pair at a place in one file has the ids of the pair at that place in another."""
    for name, count in (("a", 200), ("b", 300)):  # so that others are held out
        lines = (f"question {name} {i}\tpassage {name} {i}\n" for i in range(count))
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
    names = " + ".join(f"pairs:{tmp_path / name}.tsv" for name in "ab")
    chosen = load_settings(ROOT / "params.yaml").data.model_copy(
        update={"train": names, "held_out": 50}
    )
    opened = registry.open_training(chosen, tmp_path)
    collection, _ = data(test=[("q3", "heart", "p3")])
    _, kept, counts = separate(collection, opened, "refuse")
    assert [len(list(source.pairs)) for source in kept] == [150, 250]
    assert not any(counts.values())


def test_the_same_place_gives_the_same_ids(folder, tmp_path, monkeypatch):
    """However the folder is named; another folder with equal ids is another place."""
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"q0\td0\t1\n")
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t1\nq2\td2\t1\n")
    shutil.copytree(folder, tmp_path / "other")
    monkeypatch.chdir(folder.parent)
    place = beir_folder.collection(folder, "test").ids_of
    assert place == beir_folder.training(Path(folder.name), "test", None, 1, 0).ids_of
    assert place != beir_folder.training(tmp_path / "other", "test", None, 1, 0).ids_of


def test_the_same_documents_and_queries_are_the_same_place():
    """Of ir_datasets: clinicaltrials/2021 has topics 1, 2, ... of each year."""
    same = irds.ids_of("msmarco-passage/train")
    assert irds.ids_of("msmarco-passage/train/triples-small") == same
    years = {irds.ids_of(f"clinicaltrials/2021/trec-ct-{year}") for year in (2021, 2022)}
    assert len(years | {same, irds.ids_of("beir/scifact"), irds.ids_of("beir/nfcorpus")}) == 5


def test_what_is_dropped_is_said(capsys):
    separate(*data(test=KEPT, trained=[*KEPT, ("1", "eye", "d1")]), "drop")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(": 1 training queries")
    separate(*data(test=OTHERS, trained=KEPT), "drop")
    assert not capsys.readouterr().err


def test_validation_is_kept_apart_from_the_test():
    test = [("1", "heart", "d1")]
    again = [("1", "heart", "d1"), ("2", "lung", "d2")]
    found = data(test=test, fusing=again, validating=again)
    with pytest.raises(InputError, match=r"data\.collection: 1 validation queries"):
        separate(*found, "refuse")
    collection, (training,), counts = separate(*found, "drop")
    kept = [Judgment("2", "d2", 1)]
    assert list(collection.qrels["valid"]) == list(training.qrels["valid"]) == kept
    assert counts == {
        "training_queries": 0,
        "validation_queries": 1,
        "validation_queries_of_the_collection": 1,
    }


def test_the_topics_that_choose_a_weight_may_validate():
    valid = [("2", "lung", "d2")]
    found = data(test=[("1", "heart", "d1")], fusing=valid, validating=valid)
    assert separate(*found, "refuse")[2]["validation_queries"] == 0


def sources(*parts):
    """Sources of a mixture, each by what it trains on and validates."""
    return [data(trained=trained, validating=validating)[1][0] for trained, validating in parts]


def test_a_second_source_is_checked_by_id_and_passage_too():
    collection, _ = data(test=[("1", "heart", "d1")])
    found = sources((KEPT, []), ([("1", "of the heart", "d1")], []))
    with pytest.raises(InputError, match=r"data\.train: 1 training queries of source 2 .*'1'"):
        separate(collection, found, "refuse")
    _, kept, counts = separate(collection, found, "drop")
    assert [[p.query_id for p in source.pairs] for source in kept] == [["3"], []]
    assert counts["training_queries"] == 1


def test_no_source_validates_with_a_test_query():
    collection, _ = data(test=[("1", "heart", "d1")])
    found = sources((KEPT, OTHERS), (KEPT, [("5", "Heart", "d5"), ("6", "eye", "d6")]))
    with pytest.raises(InputError, match=r"data\.train: 1 validation queries of source 2 .*'5'"):
        separate(collection, found, "refuse")
    _, kept, counts = separate(collection, found, "drop")
    assert [[j.query_id for j in s.qrels["valid"]] for s in kept] == [["9"], ["6"]]
    assert counts["validation_queries"] == 1


@pytest.mark.parametrize("validates", [0, 1])
def test_what_validates_one_source_trains_no_other(validates):
    """Refused if it was given to validate, dropped if it was drawn here."""
    collection, _ = data(test=OTHERS)
    one = ([*KEPT], [("5", "heart", "d5")])
    other = ([("6", "Heart", "d6"), ("7", "eye", "d7")], [])
    found = sources(*((one, other) if validates == 0 else (other, one)))
    which = 2 - validates
    with pytest.raises(InputError, match=rf"1 training queries of source {which} .*'6'"):
        separate(collection, found, "refuse")
    found[validates] = replace(found[validates], held_out={"5"})
    _, kept, counts = separate(collection, found, "refuse")
    assert [p.query_id for p in kept[1 - validates].pairs] == ["7"]
    assert [j.query_id for j in kept[validates].qrels["valid"]] == ["5"]
    assert counts["training_queries"] == 1


@pytest.mark.parametrize("split", ["test", "dev"])
def test_prepare_refuses_a_folder_that_trains_on_what_it_judges(
    folder, tmp_path, monkeypatch, split
):
    """q1 is in train.tsv, and in test.tsv or dev.tsv."""
    rows = {"test": b"q0\td0\t1\n", "dev": b"q2\td3\t1\n"}
    rows[split] = b"q1\td1\t1\n"
    for name, lines in rows.items():
        (folder / f"qrels/{name}.tsv").write_bytes(HEADER + lines)
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t1\nq3\td2\t1\n")
    texts = ["one", "two", "three", "four"]
    queries = ({"_id": f"q{i}", "text": text} for i, text in enumerate(texts))
    (folder / "queries.jsonl").write_bytes(jsonl(*queries))
    changes = {"data.collection": f"beir:{folder}", "data.train": f"beir:{folder}"}
    write_params(tmp_path / "params.yaml", changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data\.train: 1 training queries .*'q1' \('two'\)"):
        prepare.main()
    assert not (tmp_path / "data").exists()
    write_params(tmp_path / "params.yaml", changes | {"data.overlap": "drop"})
    prepare.main()
    assert [pair.query_id for pair in beir.read_pairs("data/training")] == ["q3"]
    assert read_json("data/manifest.json")["dropped_for_overlap"]["training_queries"] == 1


def test_a_query_that_is_a_passage_has_to_be_decided(folder, tmp_path, monkeypatch):
    """As in ArguAna: asked for once, then counted."""
    queries = ({"_id": f"d{i}", "text": f"query {i}"} for i in range(3))
    (folder / "queries.jsonl").write_bytes(jsonl(*queries))
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"d0\td1\t1\n")
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"d1\td0\t1\nd2\td3\t1\n")
    changes = {"data.collection": f"beir:{folder}", "data.train": f"beir:{folder}"}
    changes["data.held_out"] = 1
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", changes)
    with pytest.raises(InputError, match=r"data\.drop_query_id: .*'d0' has the id of a passage"):
        prepare.main()
    for answer in (True, False):
        write_params(tmp_path / "params.yaml", changes | {"data.drop_query_id": answer})
        prepare.main()
        counts = read_json("data/manifest.json")["collection"]["queries"]
        assert counts["with_the_id_of_a_passage"] == 1
