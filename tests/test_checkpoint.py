import itertools
import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from dpr import checkpoint
from dpr.encoder import EncoderSpec
from dpr.errors import InputError
from dpr.files import sha256

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]
SPEC = EncoderSpec("cosine", "mean", True, 16, 32)


@pytest.mark.parametrize(
    ("pooling", "similarity", "tied"),
    list(
        itertools.product(["cls", "mean", "max", "pooler"], ["cosine", "dot", "l2"], [True, False])
    ),
)
def test_sentence_transformers_gives_the_same_vectors(
    make_encoder, tmp_path, pooling, similarity, tied
):
    encoder = make_encoder(pooling=pooling, similarity=similarity, tied=tied)
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    passages = encoder.embed(encoder.tokenize(TEXTS, "passage"), "passage", 64, "fp32")
    np.testing.assert_allclose(theirs.encode_document(TEXTS), passages, atol=2e-6)
    short = [TEXTS[0], TEXTS[2]]
    queries = encoder.embed(encoder.tokenize(short, "query"), "query", 64, "fp32")
    np.testing.assert_allclose(theirs.encode_query(short), queries, atol=2e-6)
    assert theirs.similarity_fn_name == {"l2": "euclidean"}.get(similarity, similarity)


@pytest.mark.parametrize("tied", [True, False])
def test_save_and_load_keep_every_bit(make_encoder, tmp_path, tied):
    encoder = make_encoder(tied=tied)
    checkpoint.save(encoder, tmp_path / "one")
    loaded = checkpoint.load(tmp_path / "one")
    assert loaded.spec == encoder.spec
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


def test_the_packaged_model_needs_no_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = checkpoint.pretrained("sentence-transformers/all-MiniLM-L6-v2", SPEC)
    assert encoder.dimension == 384


def test_an_unknown_model_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"model\.name: cannot load 'no/such-model'"):
        checkpoint.pretrained("no/such-model", SPEC)


def test_lengths_beyond_the_positions_are_refused(make_encoder):
    with pytest.raises(InputError, match=r"passage_max_length.*129 tokens.*128 positions"):
        make_encoder(passage_max_length=129)


def test_a_truncated_checkpoint_is_refused(make_encoder, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="encoder"):
        checkpoint.load(tmp_path / "encoder")
    with pytest.raises(InputError, match="cannot load"):
        checkpoint.pretrained(str(tmp_path / "encoder"), SPEC)
