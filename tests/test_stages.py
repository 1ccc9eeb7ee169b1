"""Stages refuse artifacts that do not fit the parameters, before they write anything."""

import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from dpr import checkpoint, index
from dpr.embeddings import MANIFEST, VECTORS, Embeddings, write_ids
from dpr.errors import InputError
from dpr.files import write_json

ROOT = Path(__file__).parents[1]


@pytest.fixture
def workspace(tmp_path, make_encoder, collection, monkeypatch):
    """A data/ folder whose artifacts of the system `dense` were made with `dot`."""
    folder = tmp_path / "workspace"
    for name in ("collection", "training"):
        shutil.copytree(collection, folder / "data" / name)
    shutil.copy(ROOT / "params.yaml", folder)  # says cosine
    for system in ("zero_shot", "dense"):
        checkpoint.save(make_encoder(similarity="dot"), folder / "data/encoders" / system)
    embeddings = folder / "data/embeddings/dense"
    embeddings.mkdir(parents=True)
    np.save(embeddings / VECTORS, np.ones((2, 32), np.float32))
    write_ids(embeddings / "ids.txt", ["d00", "d01"])
    manifest = {"similarity": "dot", "count": 2, "dimension": 32, "sha256": "e"}
    write_json(embeddings / MANIFEST, manifest | {"encoder": {"sha256": "m"}})
    opened = Embeddings.open(embeddings)
    index.save(index.build(opened), opened, "flat", folder / "data/indexes/dense")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("stage", "arguments", "artifact"),
    [
        ("train", [], "data/encoders/zero_shot"),
        ("encode", ["dense"], "data/encoders/dense"),
        ("index", ["dense"], "data/embeddings/dense"),
        ("search", ["dense"], "data/encoders/dense"),
    ],
)
def test_another_similarity_is_refused(workspace, stage, arguments, artifact):
    files = sorted(workspace.rglob("*"))
    with pytest.raises(InputError, match=rf"{artifact}: made with similarity 'dot'.*'cosine'"):
        importlib.import_module(f"stages.{stage}").main(*arguments)
    assert sorted(workspace.rglob("*")) == files


def test_an_error_of_the_user_is_one_line(workspace):
    from stages import run

    with pytest.raises(SystemExit) as caught:
        run(importlib.import_module("stages.index").main, "dense")
    assert "made with similarity 'dot'" in str(caught.value)
    assert "\n" not in str(caught.value)
