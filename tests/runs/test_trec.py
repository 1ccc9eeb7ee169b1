import importlib.util
import platform
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from trectools import TrecRun

from dpr.base.errors import InputError
from dpr.runs import trec


def test_a_run_is_written_as_trec_wants_it(tmp_path):
    path = tmp_path / "run.txt"
    trec.write_run(path, {"2": {"a": 0.5, "b": 1.5}, "1": {"a": -2.0}}, tag="dense")
    assert path.read_text() == "2 Q0 b 1 1.5 dense\n2 Q0 a 2 0.5 dense\n1 Q0 a 1 -2 dense\n"


def test_every_id_stays_the_same_text(tmp_path):
    path = tmp_path / "run.txt"
    run = {"007": {"0042": 1.0, "NA": 0.5}}
    trec.write_run(path, run, tag="t")
    # the reason for a reader of our own:
    assert TrecRun(str(path)).run_data["query"].tolist() == ["7", "7"]
    run |= {'"q"': {'say_"hi"': 1.0, "a,b": 0.5, "ä'": 0.25}}
    trec.write_run(path, run, tag="t")
    assert trec.read_run(path) == run


@pytest.mark.parametrize("space", [" ", "  "])
def test_a_byte_order_mark_is_no_part_of_the_topic(tmp_path, space):
    (tmp_path / "run.txt").write_text(f"\ufeffq Q0{space}d 1 0.5 t\n", encoding="utf-8")
    assert trec.read_run(tmp_path / "run.txt") == {"q": {"d": 0.5}}


def test_scores_survive_the_file_bit_by_bit(tmp_path):
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    run = {"q": {f"d{i}": float(value) for i, value in enumerate(values)}}
    trec.write_run(tmp_path / "run.txt", run, tag="t")
    back = trec.read_run(tmp_path / "run.txt")["q"]
    assert [np.float32(back[f"d{i}"]) for i in range(1000)] == list(values)


@pytest.mark.parametrize("run", [{"q1": {}, "q2": {}}, {"q1": {}}])
def test_a_run_that_found_nothing_is_told_from_an_empty_file(tmp_path, run):
    path = tmp_path / "run.txt"
    trec.write_run(path, run, tag="bm25")
    assert path.read_text() == "q1 Q0 (nothing-found) 1 0 bm25\n"
    found = trec.read_run(path)
    assert found == {"q1": {}} and len(found.scores) == 0
    path.write_text(path.read_text().replace(" ", "  "))  # read line by line
    assert trec.read_run(path) == {"q1": {}}
    assert TrecRun(str(path)).topics() == ["q1"]


@pytest.fixture(scope="module")
def trec_eval(tmp_path_factory):
    """trec_eval's program, as Anserini carries it for some platforms."""
    name = f"trec_eval-{platform.system().lower()}-{platform.machine()}".replace("x86_64", "amd64")
    package = Path(importlib.util.find_spec("pyserini").origin).parent
    with zipfile.ZipFile(next(package.glob("resources/jars/*-fatjar.jar"))) as jar:
        if f"trec_eval/{name}" not in jar.namelist():
            pytest.skip(f"Anserini has no {name}")
        program = Path(jar.extract(f"trec_eval/{name}", tmp_path_factory.mktemp("trec_eval")))
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({"q1": {"a": 2.0, "b": 1.0}, "q2": {}}, 0.25),  # b is second for the first of two topics
        ({"q1": {}, "q2": {}}, 0.0),
    ],
)
def test_trec_eval_itself_reads_what_is_written(tmp_path, trec_eval, run, expected):
    trec.write_run(tmp_path / "run.txt", run, tag="t")
    (tmp_path / "qrels.txt").write_text("q1 0 b 1\nq2 0 b 1\n")
    command = [trec_eval, "-c", "-m", "map", tmp_path / "qrels.txt", tmp_path / "run.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["map", "all", f"{expected:.4f}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"run\.txt: no such file"),
        ("", r"run\.txt: empty"),
        ("q Q0 \xe4 1 0.5 t\n", r"run\.txt:1: not UTF-8"),
        ("q Q0 d 1 0.5 t\nq Q0 e", r"run\.txt: the last line has no end"),
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
    if text is not None:
        (tmp_path / "run.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        trec.read_run(tmp_path / "run.txt")
