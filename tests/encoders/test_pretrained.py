"""Models by name: what their record decides, what params.yaml replaces, and what is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from family_helpers import make_folder, make_tokenizer
from helpers import PARAMS, SHORT, change_json, folder_of_sentence_transformers, open_model
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from transformers import (
    AutoModel,
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
from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.encoders.tokens import tokenize_queries
from dpr.records.types import Query

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]


def notes(name, similarity=None, **changes):
    return pretrained(PARAMS.model.model_copy(update={"name": str(name)} | changes), similarity)[1]


def vectors(encoder, role="passage"):
    return encoder.embed(encoder.tokenize(TEXTS, role), role, 64)


@pytest.fixture
def recorded(tiny_model, tmp_path):
    """A model of sentence-transformers with prompts, trained on 24 tokens."""
    folder = tmp_path / "st"
    folder_of_sentence_transformers(tiny_model, folder, "mean", normalize=True)
    prompts = {"query": "query: ", "document": "passage: ", "web": "find: ", "s2p": "of: "}
    change_json(folder / "config_sentence_transformers.json", prompts=prompts)
    change_json(folder / "tokenizer_config.json", model_max_length=24)
    return folder


# --- null: as the model records


def test_the_packaged_model_needs_no_hub_and_no_parameter(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = open_model("sentence-transformers/all-MiniLM-L6-v2")
    spec = encoder.spec
    assert (encoder.dimension, spec.similarity, spec.tied) == (384, "cosine", True)
    assert (spec.query.max_length, spec.passage.max_length) == (256, 256)


def test_prompts_lengths_and_similarity_are_the_recorded_ones(recorded):
    spec = open_model(recorded).spec
    assert (spec.query.prefix, spec.passage.prefix) == ("query: ", "passage: ")
    assert spec.query.max_length == spec.passage.max_length == 24 - 2  # of the prompt
    change_json(recorded / "config_sentence_transformers.json", similarity_fn_name="euclidean")
    assert open_model(recorded).spec.similarity == "l2"


def test_a_plain_transformer_gets_a_mean_and_says_so(tiny_model):
    assert notes(tiny_model) == [f"pooling mean; {tiny_model!r} records none"]


@pytest.mark.parametrize(
    ("prompts", "default", "passage"),
    [
        ({"query": "find: ", "passage": "text: "}, None, "text: "),
        ({"query": "find: ", "corpus": "text: "}, None, "text: "),
        ({"query": "find: "}, "query", "find: "),
    ],
)
def test_prompts_of_passages_by_different_names_and_by_default(recorded, prompts, default, passage):
    about = {"prompts": prompts, "default_prompt_name": default}
    change_json(recorded / "config_sentence_transformers.json", **about)
    spec = open_model(recorded).spec
    assert (spec.query.prefix, spec.passage.prefix) == ("find: ", passage)


def test_a_prompt_is_chosen_by_its_name_and_the_others_are_told(recorded):
    chosen = open_model(recorded, query_prompt="web", passage_prompt="s2p").spec
    assert (chosen.query.prefix, chosen.passage.prefix) == ("find: ", "of: ")
    told = notes(recorded, query_prompt="web")
    assert "query prompt 'find: ' (its 'web'); further recorded prompts: ['query', " in told[0]
    with pytest.raises(InputError, match=r"model\.query_prompt: .* records the prompts \['query',"):
        open_model(recorded, query_prompt="sts")


# --- a value: in its place


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"pooling": "max"}, "pooling max; the model records mean"),
        ({"query_prefix": "q: "}, "query prefix 'q: '; the model records 'query: '"),
        ({"similarity": "dot"}, "similarity dot; the model records cosine"),
    ],
)
def test_what_replaces_the_record_counts_and_is_told(recorded, changes, note):
    assert note in notes(recorded, **changes)
    before, after = open_model(recorded), open_model(recorded, **changes)
    assert (
        np.abs(vectors(before, "query") - vectors(after, "query")).max() > 0.001
        or after.spec.similarity == "dot"
    )


def test_the_transformer_alone(recorded, tiny_model):
    alone = open_model(recorded, respect_modules=False, **SHORT)
    assert (alone.spec.query.prefix, alone.spec.passage.prefix) == ("", "")
    np.testing.assert_array_equal(vectors(alone), vectors(open_model(tiny_model, **SHORT)))


def test_a_pooling_takes_the_place_of_the_recorded_one(tiny_model, tmp_path):
    """After a module that changes the states of tokens, and with its `include_prompt`."""
    states = Dense(32, 32, module_input_name="token_embeddings")
    of_modules(tmp_path / "st", Transformer(tiny_model), states, Pooling(32, "mean", False))
    encoder = open_model(tmp_path / "st", pooling="cls", **SHORT)
    assert [type(layer).__name__ for layer in encoder.passage.layers[1:]] == ["Dense", "Pooling"]
    assert not encoder.spec.query.include_prompt


def test_prompts_of_sources_need_a_pooling_with_them(recorded):
    change_json(recorded / "1_Pooling/config.json", include_prompt=False)
    encoder = open_model(recorded)
    with pytest.raises(InputError, match=r"data\.prompts: the pooling of this model leaves out"):
        tokenize_queries(encoder.tokenizer, [Query("q", "heart")], ["find: "])


def test_lengths_of_each_role_are_kept(make_encoder, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "saved")
    spec = open_model(tmp_path / "saved").spec
    assert (spec.query.max_length, spec.passage.max_length) == (16, 32)


def test_a_static_model_keeps_its_truncation_and_its_weights_are_floats(tmp_path):
    made = StaticEmbedding(make_tokenizer("bert"), embedding_dim=32).half()
    made.tokenizer.enable_truncation(3)
    of_modules(tmp_path / "static", made)
    encoder = open_model(tmp_path / "static")
    theirs = SentenceTransformer(str(tmp_path / "static"), device="cpu")
    expected = theirs.encode(TEXTS, normalize_embeddings=True, convert_to_tensor=True).float()
    np.testing.assert_allclose(vectors(encoder), expected, atol=1e-3)
    assert {weights.dtype for weights in encoder.parameters()} == {torch.float32}
    checkpoint.save(encoder, tmp_path / "saved")
    np.testing.assert_array_equal(vectors(checkpoint.load(tmp_path / "saved")), vectors(encoder))


def test_heads_stay_exact_beside_a_transformer_of_bf16(tiny_model, tmp_path):
    dense = Dense(32, 16)
    of_modules(tmp_path / "st", Transformer(tiny_model), Pooling(32), dense)
    for tied in (True, False):
        encoder = open_model(tmp_path / "st", dtype="bfloat16", tied=tied, **SHORT)
        checkpoint.save(encoder, tmp_path / f"saved {tied}")
        loaded = checkpoint.load(tmp_path / f"saved {tied}")
        for one in (encoder, loaded):
            torch.testing.assert_close(one.passage.layers[2].linear.weight, dense.linear.weight)
        np.testing.assert_array_equal(vectors(loaded), vectors(encoder))


def test_an_instructor_leaves_out_its_prompt(recorded, monkeypatch):
    """sentence-transformers knows it by its name alone."""
    monkeypatch.setattr("dpr.encoders.opened.locate", lambda name, revision: recorded)
    assert not open_model("hkunlp/instructor-base").spec.query.include_prompt


def test_a_chat_template_is_not_asked_for_a_plain_transformer(tmp_path):
    folder = make_folder(tmp_path, "qwen3", chat_template="{{ messages[0].content }}")
    assert open_model(folder, **SHORT).passage.first.modalities == ["text"]


def test_pooler(tiny_model):
    """A tanh layer over [CLS], as transformers computes it."""
    encoder = open_model(tiny_model, pooling="pooler", similarity="dot", **SHORT)
    tokens = AutoTokenizer.from_pretrained(tiny_model)(TEXTS[0], return_tensors="pt")
    expected = AutoModel.from_pretrained(tiny_model)(**tokens).pooler_output.detach()
    np.testing.assert_allclose(vectors(encoder)[:1], expected, atol=1e-6)


def test_a_model_for_queries_and_another_for_passages(make_encoder, tiny_model, tmp_path):
    checkpoint.save(make_encoder(pooling="cls"), tmp_path / "queries")
    encoder = open_model(tiny_model, query_name=str(tmp_path / "queries"), **SHORT)
    assert not encoder.spec.tied
    np.testing.assert_array_equal(vectors(encoder), vectors(open_model(tiny_model, **SHORT)))
    queries = open_model(tmp_path / "queries", **SHORT)
    np.testing.assert_array_equal(vectors(encoder, "query"), vectors(queries, "query"))
    with pytest.raises(InputError, match=r"model\.query_name: set model\.tied to null or false"):
        open_model(tiny_model, tied=True, query_name=tiny_model)
    with pytest.raises(InputError, match=r"model\.query_name: not the dimension"):
        open_model(tiny_model, query_name="sentence-transformers/all-MiniLM-L6-v2")


def test_an_eos_token_is_appended_once_or_missed(tiny_model, tmp_path):
    with pytest.raises(InputError, match=r"has no EOS token; set model\.append_eos to false"):
        open_model(tiny_model, append_eos=True, **SHORT)
    plain = open_model(tiny_model, **SHORT).tokenize(TEXTS, "query")
    same = with_tokens(tiny_model, tmp_path / "same", eos_token="[SEP]", pad_token="[PAD]")
    mask = with_tokens(tiny_model, tmp_path / "mask", eos_token="[MASK]", pad_token="[PAD]")
    ids = open_model(same, append_eos=True, **SHORT).tokenize(TEXTS, "query")
    assert [row.tolist() for row in ids] == [row.tolist() for row in plain]
    ids = open_model(mask, append_eos=True, **SHORT).tokenize(TEXTS, "query")
    assert [row[-2:].tolist() for row in ids] == [[102, 103]] * 4  # [SEP] [MASK]
    assert [len(row) for row in ids] == [min(16, len(row) + 1) for row in plain]


# --- what cannot be right


def with_tokens(tiny_model, folder, **tokens):
    """The tiny model, with these special tokens recorded and no others; None leaves one out."""
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(path.read_text()).items() if not k.endswith("_token")}
    kept |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(kept | tokens))
    return str(folder)


def of_modules(folder, *modules):
    SentenceTransformer(modules=[*modules], device="cpu").save(str(folder))


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_max_length": 2}, r"query_max_length: 2 tokens have no room beside the 2 .* more"),
        (
            {"query_prefix": "the heart and the lung " * 5},
            r"query_max_length: .* shorten model\.query_prefix",
        ),
    ],
)
def test_a_length_of_nothing_but_special_tokens_is_refused(recorded, changes, message):
    with pytest.raises(InputError, match=rf"model\.{message}"):
        open_model(recorded, **changes)


def test_a_padding_token_that_the_model_does_not_know_is_refused(tiny_model, tmp_path):
    folder = with_tokens(tiny_model, tmp_path / "model", eos_token="[SEP]", pad_token="[NEW]")
    message = r"model\.name: .* no padding token .*, set pad_token to .* the EOS token \(\[SEP\]\)"
    with pytest.raises(InputError, match=message):
        open_model(folder)
    open_model(with_tokens(tiny_model, tmp_path / "with", pad_token="[SEP]"))
    with pytest.raises(InputError, match=r"no padding token .*EOS token \(</s>\)"):
        open_model(make_folder(tmp_path, "llama", pad_token=None))
