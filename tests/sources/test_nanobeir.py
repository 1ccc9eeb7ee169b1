"""`nanobeir:FOLDER`, written as Parquet by pandas."""

import pandas as pd
import pytest
from helpers import collect

from dpr.base.errors import InputError
from dpr.records import beir


@pytest.fixture
def nano(tmp_path):
    folder = tmp_path / "NanoTiny"
    tables = {
        "corpus": pd.DataFrame({"_id": ["d0", "d1"], "text": ["a heart", "a lung"]}),
        "queries": pd.DataFrame({"_id": ["1"], "text": ["heart"]}),
        "qrels": pd.DataFrame({"query-id": ["1"], "corpus-id": ["d0"]}),
    }
    for name, table in tables.items():
        (folder / name).mkdir(parents=True)
        table.to_parquet(folder / name / "train-00000-of-00001.parquet")
    return folder


def test_a_collection_of_nanobeir(nano, tmp_path):
    manifest = collect(f"nanobeir:{nano}", tmp_path / "out")
    assert manifest["source"] == {"folder": "NanoTiny"}
    passages = [(p.id, p.text) for p in beir.read_passages(tmp_path / "out")]
    assert passages == [("d0", "a heart"), ("d1", "a lung")]
    assert beir.read_queries(tmp_path / "out")["1"].text == "heart"
    assert beir.read_qrels(tmp_path / "out", "test") == {"1": {"d0": 1}}


def test_what_is_missing_or_damaged_is_named(nano, tmp_path):
    (file,) = (nano / "qrels").glob("*")
    sound = file.read_bytes()
    file.write_bytes(sound[:-20])
    with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet: cannot be read"):
        collect(f"nanobeir:{nano}", tmp_path / "out")
    pd.DataFrame({"query-id": ["1"], "passage": ["d0"]}).to_parquet(file)
    with pytest.raises(InputError, match=r"parquet: row 1: no 'corpus-id'; the columns must be"):
        collect(f"nanobeir:{nano}", tmp_path / "out")
    pd.DataFrame({"query-id": ["1"], "corpus-id": [None]}).to_parquet(file)
    with pytest.raises(InputError, match="row 1: no 'corpus-id'"):
        collect(f"nanobeir:{nano}", tmp_path / "out")
    file.unlink()
    with pytest.raises(InputError, match=r"qrels: no Parquet file; .* and qrels/"):
        collect(f"nanobeir:{nano}", tmp_path / "out")
