"""Models by name: what their record decides, and what params.yaml replaces."""

import numpy as np
import pytest
import torch
from family_helpers import make_folder, make_tokenizer
from helpers import (
    PARAMS,
    SHORT,
    change_json,
    folder_of_sentence_transformers,
    of_modules,
    open_model,
    with_tokens,
)
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from transformers import (
    AutoModel,
    AutoTokenizer,
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
