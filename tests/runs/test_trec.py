import numpy as np
import pytest
from trectools import TrecRun

from dpr.base.errors import InputError
from dpr.runs import trec


def test_a_run_is_written_as_trec_wants_it(tmp_path):
    path = tmp_path / "run.txt"
    trec.write_run(path, {"2": {"a": 0.5, "b": 1.5}, "1": {"a": -2.0}}, tag="dense")
    assert path.read_text() == "2 Q0 b 1 1.5 dense\n2 Q0 a 2 0.5 dense\n1 Q0 a 1 -2 dense\n"


def test_ids_that_look_like_numbers_stay_text(tmp_path):
    path = tmp_path / "run.txt"
    trec.write_run(path, {"007": {"0042": 1.0, "NA": 0.5}}, tag="t")
    assert trec.read_run(path) == {"007": {"0042": 1.0, "NA": 0.5}}
    # the reason for a reader of our own:
    assert TrecRun(str(path)).run_data["query"].tolist() == ["7", "7"]


@pytest.mark.parametrize(
    "ids", [("0", "10", "9"), ("007", "8"), ("-0", "1"), ("0x1", "2"), ("5", "a"), ("1", "9" * 30)]
)
def test_ids_that_are_numbers_are_told_apart_as_texts(tmp_path, ids):
    run = {"q": dict(zip(ids, (3.0, 2.0, 1.0), strict=False)), "p": {ids[-1]: 1.0}}
    trec.write_run(tmp_path / "run.txt", run, tag="t")
    found = trec.read_run(tmp_path / "run.txt")
    assert found == run
    assert sorted(found.ids.to_pylist()) == sorted(ids)


def test_any_id_without_white_space_survives_the_file(tmp_path):
    run = {'"q"': {'say "hi"'.replace(" ", "_"): 1.0, "a,b": 0.5, "ä'": 0.25}}
    trec.write_run(tmp_path / "run.txt", run, tag="t")
    assert trec.read_run(tmp_path / "run.txt") == run


@pytest.mark.parametrize("space", [" ", "  "])
def test_a_byte_order_mark_is_no_part_of_the_topic(tmp_path, space):
    (tmp_path / "run.txt").write_text(f"\ufeffq Q0{space}d 1 0.5 t\n", encoding="utf-8")
    assert trec.read_run(tmp_path / "run.txt") == {"q": {"d": 0.5}}


def test_a_run_that_is_not_utf8_names_file_and_line(tmp_path):
    (tmp_path / "run.txt").write_bytes(b"q Q0 \xe4 1 0.5 t\n")
    with pytest.raises(InputError, match=r"run\.txt:1: not UTF-8"):
        trec.read_run(tmp_path / "run.txt")


def test_scores_survive_the_file_bit_by_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    run = {"q": {f"d{i}": float(value) for i, value in enumerate(values)}}
    trec.write_run(tmp_path / "run.txt", run, tag="t")
    back = trec.read_run(tmp_path / "run.txt")["q"]
    assert [np.float32(back[f"d{i}"]) for i in range(1000)] == list(values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"run\.txt: empty"),
        ("q Q0 d 1 0.5\n", r"run\.txt:1: 5 columns"),
        ("q Q0 d 1 0.5 t\nq Q0 e 2 best t\n", r"run\.txt:2: rank '2' and score 'best'"),
        ("q Q0 d 1 nan t\n", r"run\.txt:1: score 'nan' is not a finite"),
        ("q Q0 d 1 1e39 t\n", r"run\.txt:1: score '1e39' is not a finite number of 32 bits"),
        ("q Q0  1 0.5 t\n", r"run\.txt:1: 5 columns"),
        (" Q0 d 1 0.5 t\n", r"run\.txt:1: 5 columns"),
        ("q Q0 d 1 0.5 \n", r"run\.txt:1: 5 columns"),
        ("q Q0 d 1 2 t\nq Q0 d 2 1 t\n", r"run\.txt:2: document 'd' twice for topic 'q'"),
    ],
)
def test_a_bad_run_names_file_and_line(tmp_path, text, message):
    (tmp_path / "run.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        trec.read_run(tmp_path / "run.txt")
