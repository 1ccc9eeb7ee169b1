"""Models by name: which load, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import folder_of_sentence_transformers
from transformers import (
    AutoModel,
    AutoTokenizer,
    CanineConfig,
    CanineModel,
    CanineTokenizer,
    RobertaConfig,
    RobertaModel,
)

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.encoders.spec import EncoderSpec

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]
SPEC = EncoderSpec("cosine", "mean", True, 16, 32)


def test_the_packaged_model_needs_no_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = pretrained("sentence-transformers/all-MiniLM-L6-v2", SPEC)
    assert encoder.dimension == 384


def test_lengths_beyond_the_positions_are_refused(make_encoder):
    with pytest.raises(InputError, match=r"passage_max_length.*129 tokens.*128 positions"):
        make_encoder(passage_max_length=129)


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
        pretrained(folder, spec)
    pretrained(folder, spec, respect_modules=False)


def test_a_separate_query_checkpoint(make_encoder, tiny_model, tmp_path):
    other = make_encoder(tied=False)  # its query encoder differs from tiny_model
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "other")
    other.query.backbone.save_pretrained(tmp_path / "other")
    spec = replace(SPEC, tied=False)
    encoder = pretrained(tiny_model, spec, str(tmp_path / "other")).eval()
    for role in ("query", "passage"):
        tokens = encoder.tokenize(["heart"], role)
        np.testing.assert_array_equal(
            encoder.embed(tokens, role, 64, "fp32"), other.embed(tokens, role, 64, "fp32")
        )
    with pytest.raises(InputError, match=r"model\.query_name: set model\.tied to false"):
        pretrained(tiny_model, SPEC, str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"model\.query_name: not the dimension"):
        pretrained(
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
    encoder, same = pretrained(folder, SPEC).eval(), make_encoder()
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
        pretrained(folder, SPEC)
    assert not Path("owned").exists()


def test_a_hub_out_of_reach_says_which_file_and_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        pretrained("microsoft/MiniLM-L12-H384-uncased", SPEC)
    for part in ("model.name: cannot load 'micro", "config.json", "Give a local folder"):
        assert part in str(caught.value)


def test_a_model_that_records_another_similarity_is_refused(make_encoder, tmp_path):
    checkpoint.save(make_encoder(similarity="dot"), tmp_path / "dot")
    with pytest.raises(InputError, match=r"similarity: .* records 'dot', not 'cosine'"):
        pretrained(str(tmp_path / "dot"), SPEC)


def test_a_normalizing_model_that_records_no_similarity(tiny_model, tmp_path):
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", "mean", normalize=True)
    (tmp_path / "st/config_sentence_transformers.json").write_text("{}")
    with pytest.raises(InputError, match=r"similarity: .* normalizes its vectors.*not 'dot'"):
        pretrained(folder, replace(SPEC, similarity="dot"))


def test_a_tokenizer_written_in_python_is_refused(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    CanineModel(CanineConfig(intermediate_size=16, **sizes)).save_pretrained(tmp_path)
    CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"has no tokenizer of the tokenizers library"):
        pretrained(str(tmp_path), SPEC)


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
    pretrained(str(tmp_path), replace(SPEC, passage_max_length=64))
    with pytest.raises(InputError, match=r"cannot take 66 tokens \(it has 66 positions\)"):
        pretrained(str(tmp_path), replace(SPEC, passage_max_length=66))


def with_tokens(tiny_model, folder, **tokens):
    """The tiny model, with these special tokens recorded and no others; None leaves one out."""
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(path.read_text()).items() if not k.endswith("_token")}
    kept |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(kept | tokens))
    return str(folder)


def test_a_padding_token_that_the_model_does_not_know_is_refused(tiny_model, tmp_path):
    folder = with_tokens(tiny_model, tmp_path / "model", eos_token="[SEP]", pad_token="[NEW]")
    message = r"model\.name: .* no padding token .*, set pad_token to .* the EOS token \(\[SEP\]\)"
    with pytest.raises(InputError, match=message):
        pretrained(folder, SPEC)
    pretrained(with_tokens(tiny_model, tmp_path / "with", pad_token="[SEP]"), SPEC)


def test_an_eos_token_is_appended_once_or_missed(tiny_model, tmp_path):
    spec = replace(SPEC, append_eos=True)
    with pytest.raises(
        InputError, match=r"model\.append_eos: .* has no EOS token; set it to false"
    ):
        pretrained(tiny_model, spec)
    plain = pretrained(tiny_model, SPEC).tokenize(TEXTS, "query")
    same = with_tokens(tiny_model, tmp_path / "same", eos_token="[SEP]", pad_token="[PAD]")
    other = with_tokens(tiny_model, tmp_path / "other", eos_token="[MASK]", pad_token="[PAD]")
    found = pretrained(same, spec).tokenize(TEXTS, "query")
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in plain]
    found = pretrained(other, spec).tokenize(TEXTS, "query")
    assert [ids[-2:].tolist() for ids in found] == [[102, 103]] * 4  # [SEP] [MASK]
    assert [len(ids) for ids in found] == [min(16, len(ids) + 1) for ids in plain]
