import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers import models as modules
from transformers import AutoModel, AutoTokenizer, RobertaConfig, RobertaModel

from dpr import checkpoint, st_layout
from dpr.encoder import EncoderSpec
from dpr.errors import InputError
from dpr.files import sha256

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]
SPEC = EncoderSpec("cosine", "mean", True, 16, 32)


@pytest.mark.parametrize(
    ("pooling", "similarity", "tied"),
    list(
        itertools.product(
            ["cls", "mean", "max", "pooler"], ["cosine", "dot", "l2", "l1"], [True, False]
        )
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
    assert theirs.similarity_fn_name == {"l2": "euclidean", "l1": "manhattan"}.get(
        similarity, similarity
    )


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


# --- models of others


def folder_of_sentence_transformers(tiny_model, folder, pooling, normalize):
    """A model as that library itself saves it."""
    transformer = modules.Transformer(tiny_model)
    parts = [transformer, modules.Pooling(32, pooling)]
    parts += [modules.Normalize()] if normalize else []
    SentenceTransformer(modules=parts, device="cpu").save(str(folder))
    return str(folder)


def test_a_sentence_transformers_folder_gives_its_own_vectors(tiny_model, tmp_path):
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", "max", normalize=True)
    encoder = checkpoint.pretrained(folder, replace(SPEC, pooling="max")).eval()
    theirs = SentenceTransformer(folder, device="cpu")
    ours = encoder.embed(encoder.tokenize(["heart", "lung"], "passage"), "passage", 64, "fp32")
    np.testing.assert_allclose(theirs.encode(["heart", "lung"]), ours, atol=2e-6)


@pytest.mark.parametrize(
    ("pooling", "normalize", "changes", "message"),
    [
        ("max", False, {}, r"model\.pooling: .* records 'max', not 'mean'"),
        ("mean", True, {"similarity": "dot"}, r"similarity: .* records 'cosine', not 'dot'"),
        ("mean", True, {"similarity": "l2"}, r"similarity: .* records 'cosine', not 'l2'"),
    ],
)
def test_a_conflict_with_its_modules_is_an_error(
    tiny_model, tmp_path, pooling, normalize, changes, message
):
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", pooling, normalize)
    spec = replace(SPEC, **changes)
    with pytest.raises(InputError, match=message):
        checkpoint.pretrained(folder, spec)
    checkpoint.pretrained(folder, spec, respect_modules=False)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "pooler"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_an_encoder_of_ours_is_read_back_as_a_model(make_encoder, tmp_path, pooling, similarity):
    encoder = make_encoder(pooling=pooling, similarity=similarity)
    checkpoint.save(encoder, tmp_path / "ours")
    assert st_layout.read_modules(str(tmp_path / "ours")) == (
        pooling,
        similarity == "cosine",
        similarity,
    )
    checkpoint.pretrained(str(tmp_path / "ours"), encoder.spec)


def test_prefixes_are_those_of_sentence_transformers(make_encoder, tmp_path):
    encoder = make_encoder(query_prefix="query: ", passage_prefix="passage: ")
    plain = make_encoder()
    for role, prefix in (("query", "query: "), ("passage", "passage: ")):
        ours = encoder.embed(encoder.tokenize(["heart"], role), role, 64, "fp32")
        by_hand = plain.embed(plain.tokenize([prefix + "heart"], role), role, 64, "fp32")
        np.testing.assert_array_equal(ours, by_hand)
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = SentenceTransformer(str(tmp_path / "encoder"), device="cpu")
    query = encoder.embed(encoder.tokenize(["heart"], "query"), "query", 64, "fp32")
    np.testing.assert_allclose(theirs.encode_query(["heart"]), query, atol=2e-6)
    passage = encoder.embed(encoder.tokenize(["heart"], "passage"), "passage", 64, "fp32")
    np.testing.assert_allclose(theirs.encode_document(["heart"]), passage, atol=2e-6)


def test_a_separate_query_checkpoint(make_encoder, tiny_model, tmp_path):
    other = make_encoder(tied=False)  # its query encoder differs from tiny_model
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "other")
    other.query.backbone.save_pretrained(tmp_path / "other")
    spec = replace(SPEC, tied=False)
    encoder = checkpoint.pretrained(tiny_model, spec, str(tmp_path / "other")).eval()
    for role in ("query", "passage"):
        tokens = encoder.tokenize(["heart"], role)
        np.testing.assert_array_equal(
            encoder.embed(tokens, role, 64, "fp32"), other.embed(tokens, role, 64, "fp32")
        )
    with pytest.raises(InputError, match=r"model\.query_name: set model\.tied to false"):
        checkpoint.pretrained(tiny_model, SPEC, str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"model\.query_name: not the dimension"):
        checkpoint.pretrained(
            tiny_model, spec, "sentence-transformers/all-MiniLM-L6-v2", respect_modules=False
        )


def as_pytorch_bin(tiny_model, folder, weights):
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return str(folder)


def test_weights_that_are_not_safetensors(make_encoder, tiny_model, tmp_path):
    weights = AutoModel.from_pretrained(tiny_model).state_dict()
    folder = as_pytorch_bin(tiny_model, tmp_path / "bin", weights)
    encoder, same = checkpoint.pretrained(folder, SPEC).eval(), make_encoder()
    tokens = same.tokenize(TEXTS, "passage")
    np.testing.assert_array_equal(
        encoder.embed(tokens, "passage", 64, "fp32"), same.embed(tokens, "passage", 64, "fp32")
    )


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_code_in_weights_is_not_run(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = as_pytorch_bin(tiny_model, tmp_path / "bin", {"x": Payload()})
    with pytest.raises(InputError, match=r"model\.name: cannot load"):
        checkpoint.pretrained(folder, SPEC)
    assert not Path("owned").exists()


def test_a_hub_out_of_reach_says_which_file_and_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        checkpoint.pretrained("microsoft/MiniLM-L12-H384-uncased", SPEC)
    assert "config.json" in str(caught.value)
    assert "Give a local folder" in str(caught.value)


def test_a_model_that_records_another_similarity_is_refused(make_encoder, tmp_path):
    checkpoint.save(make_encoder(similarity="dot"), tmp_path / "dot")
    with pytest.raises(InputError, match=r"similarity: .* records 'dot', not 'cosine'"):
        checkpoint.pretrained(str(tmp_path / "dot"), SPEC)


def test_a_normalising_model_that_records_no_similarity(tiny_model, tmp_path):
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", "mean", normalize=True)
    (tmp_path / "st/config_sentence_transformers.json").write_text("{}")
    with pytest.raises(InputError, match=r"similarity: .* normalises its vectors.*not 'dot'"):
        checkpoint.pretrained(folder, replace(SPEC, similarity="dot"))


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
        checkpoint.pretrained(
            str(tmp_path / "encoder"), replace(SPEC, pooling=pooling), respect_modules=False
        )


def test_positions_are_tried_not_believed(tmp_path, tiny_model):
    """RoBERTa has two positions more than it can take tokens."""
    config = RobertaConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path)
    checkpoint.pretrained(str(tmp_path), replace(SPEC, passage_max_length=64))
    with pytest.raises(InputError, match=r"cannot take 66 tokens \(it has 66 positions\)"):
        checkpoint.pretrained(str(tmp_path), replace(SPEC, passage_max_length=66))
