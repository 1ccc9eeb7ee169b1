"""Saving and loading: bit by bit, or an error."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import open_model
from safetensors.torch import load_file, save_file

from dpr.base.errors import InputError
from dpr.base.files import sha256
from dpr.encoders import checkpoint

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]


@pytest.mark.parametrize("tied", [True, False])
def test_save_and_load_keep_every_bit(make_encoder, tmp_path, tied):
    encoder = make_encoder(tied=tied)
    checkpoint.save(encoder, tmp_path / "one")
    loaded = checkpoint.load(tmp_path / "one")
    sides = {r: replace(loaded.spec.side(r), modules=()) for r in ("query", "passage")}
    assert replace(loaded.spec, **sides) == encoder.spec
    for role in ("query", "passage"):
        tokens = encoder.tokenize(TEXTS, role)
        np.testing.assert_array_equal(
            loaded.embed(tokens, role, 64, "fp32"), encoder.embed(tokens, role, 64, "fp32")
        )
    checkpoint.save(loaded, tmp_path / "elsewhere")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    for file in files:
        if (tmp_path / "one" / file).is_file():
            assert sha256(tmp_path / "one" / file) == sha256(tmp_path / "elsewhere" / file), file


def test_a_saved_encoder_names_no_folder_of_this_machine(make_encoder, tiny_model, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    for path in (tmp_path / "encoder").rglob("*.json"):
        assert tiny_model not in path.read_text()
        json.loads(path.read_text())


def test_a_truncated_checkpoint_is_refused(make_encoder, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="encoder"):
        checkpoint.load(tmp_path / "encoder")
    with pytest.raises(InputError, match=r"model\.safetensors: damaged"):
        open_model(tmp_path / "encoder")


@pytest.mark.parametrize("missing", ["encoder.layer.1.", "pooler."])
def test_missing_weights_are_never_drawn_at_random(make_encoder, tmp_path, missing):
    pooling = "pooler" if missing == "pooler." else "mean"
    checkpoint.save(make_encoder(pooling=pooling), tmp_path / "encoder")
    path = tmp_path / "encoder/model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if not k.startswith(missing)}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"weights are missing"):
        checkpoint.load(tmp_path / "encoder")
    with pytest.raises(InputError, match=r"weights are missing"):
        open_model(tmp_path / "encoder", pooling=pooling, respect_modules=pooling == "pooler")


def test_each_training_is_recorded_without_folders(make_encoder, tmp_path):
    encoder = make_encoder()
    checkpoint.add_training(encoder, "medline + beir:/home/me/my data/set", 70)
    checkpoint.save(encoder, tmp_path / "encoder")
    again = open_model(tmp_path / "encoder")
    checkpoint.add_training(again, "pairs:lines.tsv", 5)
    first, *trainings = again.spec.lineage
    assert first == encoder.spec.lineage[0]
    assert trainings == ["70 steps on medline + beir:set", "5 steps on pairs:lines.tsv"]
