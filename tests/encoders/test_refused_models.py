"""Models that cannot give right vectors: one clear error, before anything is computed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from family_helpers import make_folder
from helpers import (
    change_json,
    folder_of_sentence_transformers,
    of_modules,
    open_model,
    with_tokens,
)
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    CanineConfig,
    CanineModel,
    CanineTokenizer,
    RobertaConfig,
    RobertaModel,
)

from dpr.base.errors import InputError


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def code_in_weights(folder, tiny):
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    torch.save({"x": Payload()}, folder / "pytorch_model.bin")


def code_in_modules(folder, tiny):
    folder_of_sentence_transformers(tiny, folder, "mean", normalize=True)
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "custom.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "custom.py").write_text("open('owned', 'w')")


def code_in_config(folder, tiny):
    shutil.copytree(tiny, folder)
    change_json(folder / "config.json", model_type="new", auto_map={"AutoModel": "custom.Model"})
    (folder / "custom.py").write_text("open('owned', 'w')")


def cross_encoder(folder, tiny):
    shutil.copytree(tiny, folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(intermediate_size=16, num_labels=1, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)


def sparse(folder, tiny):
    folder_of_sentence_transformers(tiny, folder, "mean", normalize=True)
    change_json(folder / "config_sentence_transformers.json", model_type="SparseEncoder")


def half_downloaded(folder, tiny):
    folder_of_sentence_transformers(tiny, folder, "mean", normalize=True)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def weights_of_another_shape(folder, tiny):
    shutil.copytree(tiny, folder)
    change_json(folder / "config.json", intermediate_size=32)


def weights_missing(folder, tiny):
    shutil.copytree(tiny, folder)
    kept = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in kept.items() if not k.startswith("encoder.layer.1.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def weights_of_nan(folder, tiny):
    shutil.copytree(tiny, folder)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][3] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def module_missing(folder, tiny):
    of_modules(folder, Transformer(tiny), Pooling(32), Dense(32, 16))
    shutil.rmtree(folder / "2_Dense")


def dense_of_another_size(folder, tiny):
    of_modules(folder, Transformer(tiny), Pooling(32, ("cls", "mean")), Dense(32, 16))


def router_without_queries(folder, tiny):
    routes = {"document": [Transformer(tiny), Pooling(32)], "image": [Transformer(tiny)]}
    of_modules(folder, Router(routes, default_route="document"))


def adapter_without_base(folder, tiny):
    folder.mkdir()
    about = {"peft_type": "LORA", "base_model_name_or_path": "/gone/base"}
    (folder / "adapter_config.json").write_text(json.dumps(about))


def damaged_json(folder, tiny):
    folder_of_sentence_transformers(tiny, folder, "mean", normalize=True)
    (folder / "modules.json").write_text("[{")


def empty_folder(folder, tiny):
    folder.mkdir()


def pooler_missing(folder, tiny):
    shutil.copytree(tiny, folder)
    kept = load_file(folder / "model.safetensors")
    kept = {k: v for k, v in kept.items() if not k.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_pooler_is_never_drawn_at_random(tiny_model, tmp_path):
    pooler_missing(tmp_path / "model", tiny_model)
    open_model(tmp_path / "model")
    with pytest.raises(InputError, match=r"2 weights are missing, pooler\.dense\.bias"):
        open_model(tmp_path / "model", pooling="pooler")


REFUSED = {
    code_in_weights: "pytorch_model.bin has more than weights, .* take a model with safetensors",
    code_in_modules: "module custom.Pooling is code from the model's own files, .* never run here",
    code_in_config: "model type 'new' is code from the model's own files",
    cross_encoder: r"is a cross-encoder .* set it as teacher\.scores: cross-encoder:NAME",
    sparse: "it is a SparseEncoder, which does not give one vector a text",
    half_downloaded: "model.safetensors: damaged .* download the model again",
    weights_of_another_shape: r"layer.0.intermediate.* has the shape \[64.*config.json says \[32",
    weights_missing: "16 weights are missing, encoder.layer.1.attention",
    weights_of_nan: "weights .*layer.1.output.dense.bias have NaN or infinity",
    module_missing: "2_Dense: no such folder, though modules.json names it",
    dense_of_another_size: "its Dense takes vectors of 32 numbers, but gets 64",
    router_without_queries: "its Router has the routes document, image, but none for a query",
    adapter_without_base: "adapter_config.json: its base model '/gone/base' is neither a folder",
    damaged_json: "modules.json is not JSON .*; download the model again",
    empty_folder: "the folder has neither modules.json nor config.json",
}


@pytest.mark.parametrize("spoil", REFUSED)
def test_one_clear_error(spoil, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoil(tmp_path / "model", tiny_model)
    with pytest.raises(InputError, match=REFUSED[spoil]) as caught:
        open_model(tmp_path / "model")
    assert str(caught.value).startswith("params.yaml: model.name: ")
    assert "trust_remote_code" not in str(caught.value)
    assert not Path("owned").exists()


def test_a_hub_out_of_reach_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError) as caught:
        open_model("microsoft/MiniLM-L12-H384-uncased")
    for part in ("model.name: cannot load 'micro", "Give a local folder"):
        assert part in str(caught.value)


def test_a_local_folder_has_no_revisions(tiny_model):
    with pytest.raises(InputError, match=r"model\.name: .* is no hub model and has no revisions"):
        open_model(tiny_model, revision="main")


def test_a_tokenizer_written_in_python_is_refused(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    CanineModel(CanineConfig(intermediate_size=16, **sizes)).save_pretrained(tmp_path)
    CanineTokenizer().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="has no tokenizer of the tokenizers library"):
        open_model(tmp_path)


def test_positions_are_tried_not_believed(tmp_path, tiny_model, make_encoder):
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
    open_model(tmp_path, query_max_length=16, passage_max_length=64)
    with pytest.raises(InputError, match=r"cannot take 66 tokens, .* \(it has 66 positions\)"):
        open_model(tmp_path, query_max_length=16, passage_max_length=66)
    with pytest.raises(InputError, match=r"passage_max_length.*129 tokens.*128 positions"):
        make_encoder(passage_max_length=129)


def test_a_padding_token_that_the_model_does_not_know_is_refused(tiny_model, tmp_path):
    folder = with_tokens(tiny_model, tmp_path / "model", eos_token="[SEP]", pad_token="[NEW]")
    message = r"model\.name: .* no padding token .*, set pad_token to .* the EOS token \(\[SEP\]\)"
    with pytest.raises(InputError, match=message):
        open_model(folder)
    open_model(with_tokens(tiny_model, tmp_path / "with", pad_token="[SEP]"))
    with pytest.raises(InputError, match=r"no padding token .*EOS token \(</s>\)"):
        open_model(make_folder(tmp_path, "llama", pad_token=None))
