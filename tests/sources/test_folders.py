"""Which files of a folder are one table, which table is meant, and which qrels are a split's."""

from pathlib import Path

import pytest
from helpers import HEADER, collect, jsonl, train

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.sources import folders


@pytest.mark.parametrize(
    ("names", "tables"),
    [
        (["train-00000-of-00002", "train-00001-of-00002"], {"train": 2}),
        (["00000-of-00001"], {"": 1}),
        (["part-0000", "part-0001", "part-0002"], {"part": 3}),
        (["0001", "0002"], {"": 2}),
        (["2019", "2020"], {"2019": 1, "2020": 1}),
        (["2019", "train"], {"2019": 1, "train": 1}),
        (["dl-20190", "dl-20201"], {"dl-20190": 1, "dl-20201": 1}),
        (["part-0000", "part-0002"], {"part-0000": 1, "part-0002": 1}),  # a gap
        (["1", "2"], {"1": 1, "2": 1}),
    ],
)
def test_a_number_is_a_shard_only_in_a_series(names, tables):
    found = folders.grouped(Path(f"{name}.tsv") for name in names)
    assert {name: len(files) for name, files in found.items()} == tables


def write(folder, names):
    """Queries and qrels of each name; query and document of `test` are q-test and d-test."""
    tables = {
        "corpus": lambda name: jsonl(*({"_id": f"d-{n}", "text": n} for n in names)),
        "queries": lambda name: jsonl({"_id": f"q-{name}", "text": f"what {name}"}),
        "qrels": lambda name: jsonl({"query-id": f"q-{name}", "corpus-id": f"d-{name}"}),
    }
    for table, content in tables.items():
        (folder / table).mkdir(parents=True)
        for name in names[:1] if table == "corpus" else names:
            (folder / table / f"{name}-00000-of-00001.jsonl").write_bytes(content(name))


def judged(out, split="test"):
    return {q: [*grades] for q, grades in beir.read_qrels(out, split).items()}


@pytest.mark.parametrize("split", ["2019", "2020"])
def test_years_are_splits(folder, tmp_path, split):
    (folder / "qrels/2019.tsv").write_bytes(HEADER + b"q1\td1\t1\n")
    (folder / "qrels/2020.tsv").write_bytes(HEADER + b"q2\td2\t1\n")
    collect(f"beir:{folder}", tmp_path / "out", split=split)
    assert judged(tmp_path / "out") == {"2019": {"q1": ["d1"]}, "2020": {"q2": ["d2"]}}[split]
    (folder / "qrels/test.tsv").unlink()
    with pytest.raises(InputError, match="no split 'test'; the splits are: 2019, 2020, train"):
        collect(f"beir:{folder}", tmp_path / "out")


def test_tables_named_by_split(tmp_path):
    write(tmp_path / "mine", ["train", "test"])
    collect(f"beir:{tmp_path / 'mine'}", tmp_path / "out")
    assert judged(tmp_path / "out") == {"q-test": ["d-test"]}
    with pytest.raises(InputError, match=r"leaves nothing to train on"):  # of one query
        train(f"beir:{tmp_path / 'mine'}", tmp_path / "out")


def test_an_only_split_is_not_taken_for_another_one(tmp_path):
    write(tmp_path / "mine", ["test"])
    with pytest.raises(InputError, match=r"no split 'dev'; the splits are: test .*data\.split"):
        collect(f"beir:{tmp_path / 'mine'}", tmp_path / "out", split="dev")
    collect(f"beir:{tmp_path / 'mine'}", tmp_path / "out")
    assert judged(tmp_path / "out") == {"q-test": ["d-test"]}


def test_an_only_table_is_judged_and_trains(tmp_path, capsys):
    write(tmp_path / "mine", ["train"])
    collect(f"beir:{tmp_path / 'mine'}", tmp_path / "out")
    assert judged(tmp_path / "out") == {"q-train": ["d-train"]}
    assert "the only qrels, 'train', are taken as 'test'" in capsys.readouterr().err
    train(f"beir:{tmp_path / 'mine'}", tmp_path / "out", held_out=0)
    assert judged(tmp_path / "out", "train") == {"q-train": ["d-train"]}


def test_qrels_of_no_name_beside_others(folder, tmp_path):
    (folder / "qrels/00000-of-00001.tsv").write_bytes(HEADER + b"q1\td1\t1\n")
    with pytest.raises(InputError, match=r"00000-of-00001\.tsv: names no split; call it SPLIT-"):
        collect(f"beir:{folder}", tmp_path / "out")


@pytest.mark.parametrize("name", ["corpus.jsonl", "qrels/test.tsv"])
def test_a_file_that_no_format_reads_is_named(folder, tmp_path, name):
    (folder / "qrels/train.tsv").unlink()
    (folder / name).rename(folder / f"{name}.xz")
    with pytest.raises(InputError, match=rf"; {Path(name).name}\.xz cannot be read: unpack it"):
        collect(f"beir:{folder}", tmp_path / "out")
