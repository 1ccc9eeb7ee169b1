"""The figures that small tools print are of what they say."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import DATA, HEADER, PARAMS, write_params

from dpr.base.errors import InputError
from dpr.encoders.spec import EncoderSpec, Side
from dpr.runs.trec import write_run
from dpr.sources import registry, write
from dpr.sources.mixture import mix
from tools import answers, ceiling, overlap, publish


@pytest.mark.parametrize(
    ("changes", "k", "expected"),
    [
        ({}, 10, 2 * PARAMS.search.top_k),
        ({"rescore": 1500}, 10, 3000),
        ({}, 5000, 10_000),
        ({"ef_search": 1200}, 10, 1200),
    ],
)
def test_ask_walks_through_hnsw_as_far_as_the_audited_search(changes, k, expected):
    asked = []

    class Index:
        def run(self, query_ids, vectors, top_k, settings):
            asked.append((top_k, settings.ef_search))

    dense = answers.DenseSearch.__new__(answers.DenseSearch)
    dense.options, dense.index = PARAMS.search.model_copy(update=changes), Index()
    dense.embedder = SimpleNamespace(embed_texts=lambda texts, role: np.zeros((1, 4)))
    dense.search("a question", k)
    assert asked == [(k, expected)]


@pytest.fixture
def judged(collection, tmp_path, monkeypatch):
    """data/collection, and the run of a search for 50 passages: d59 first."""
    (tmp_path / "data").mkdir()
    collection.rename(tmp_path / "data/collection")
    run = {f"q{n}": {f"d{i:02}": float(i) for i in range(10, 60)} for n in range(6, 12)}
    (tmp_path / "data/runs/test").mkdir(parents=True)
    write_run(tmp_path / "data/runs/test/dense.txt", run, tag="dense")
    write_params(tmp_path / "params.yaml", {"search.top_k": 50, "eval.measures": ["nDCG@10"]})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ceiling.sides, "warn", lambda *stages: None)
    return tmp_path


def test_a_ceiling_is_not_of_more_passages_than_were_searched(judged, capsys):
    ceiling.main("test")
    header = capsys.readouterr().out.splitlines()[0]
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        *["system", "nDCG@10", "first 20 re-ranked", "first 50 re-ranked"],
    ]


def test_a_ceiling_needs_topics(judged):
    (judged / "data/collection/qrels/valid.tsv").write_bytes(HEADER)
    with pytest.raises(InputError, match=r"qrels/valid\.tsv: no topic"):
        ceiling.main("valid")


@pytest.mark.parametrize("place", [1, 2])
def test_the_overlap_is_with_the_source_that_is_searched(tmp_path, folder, place):
    """The other source has the same ids of other passages."""
    (folder / "qrels/train.tsv").write_bytes(HEADER + b"q1\td1\t1\nq2\td3\t1\n")
    lines = tmp_path / "other.tsv"
    lines.write_bytes(b"".join(b"query %d\ttext %d\tno %d\n" % (i, i, i) for i in range(9)))
    names = [f"beir:{folder}", f"triples:{lines}"]
    train = " + ".join(names if place == 1 else names[::-1])
    data = DATA.model_copy(update={"train": train, "held_out": 1})
    mixed = mix(data.source_names, registry.open_training(data))
    manifest = {"train": write.write_training(mixed, tmp_path / "training", train)}
    manifest["collection"] = {"name": names[0]}
    assert overlap.source_number(manifest) == place
    topics, positives = overlap.training(str(tmp_path / "training"), place)
    assert len(topics) == 1  # the other validates
    assert positives == set.union(*topics.values()) <= {"d1", "d3"}
    manifest["collection"] = {"name": "medline"}
    with pytest.raises(InputError, match=r"data\.train: .* other than those of .* medline"):
        overlap.source_number(manifest)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (70, "Trained on medline-2021 and measured on medline alone: "),
        (0, "\nMeasured on medline alone: "),
    ],
)
def test_a_card_says_what_was_trained_on(tmp_path, monkeypatch, steps, expected):
    write_params(tmp_path / "params.yaml", {"train.max_steps": steps})
    monkeypatch.chdir(tmp_path)
    manifest = {"train": {"name": "medline-2021"}, "collection": {"name": "medline"}}
    manifest["collection"] |= {"judgments": {"test": {"queries": 2}}, "passages": {"count": 9}}
    figures = {key: {"mean": 0.5, "low": 0.4, "high": 0.6} for key in PARAMS.eval.measures}
    compared = {"systems": {"dense": figures}, "against": {}}
    files = {publish.METRICS: compared, publish.MANIFEST: manifest}
    monkeypatch.setattr(publish, "read_json", files.get)
    monkeypatch.setattr(publish.report_tables, "read_json", files.get)
    monkeypatch.setattr(publish.Results, "here", lambda: None)
    monkeypatch.setattr(publish, "conclude", lambda results: ["dense is best.", "Next, `dvc`"])
    side = Side(max_length=256)
    spec = EncoderSpec("cosine", True, side, side, ("small", "5 steps on nfcorpus"))
    monkeypatch.setattr(publish, "read_spec", lambda folder: spec)
    card = publish.card()
    assert expected in card
    assert "The encoder's history: small, then 5 steps on nfcorpus." in card
    assert "- dense is best.\n" in card and "Next" not in card
    assert ("trained on medline-2021" in card) == (steps > 0)
