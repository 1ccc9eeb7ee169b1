"""Families of models: vectors beside those of sentence-transformers, and a step of training.

Each is a tiny model of random weights, saved as its family is: with the head that it was
pretrained with, which is not read.
"""

import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
import transformers
from helpers import settings
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig

import dpr.encoders.tokens
from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.engines import open_engine
from dpr.encoders.pretrained import pretrained
from dpr.encoders.spec import EncoderSpec
from dpr.training import parameters

CPU = torch.device("cpu")
TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


class Family(NamedTuple):
    head: str  # the class that a published model of the family was saved by
    around: str  # what its tokenizer adds to a text
    config: dict = {}  # noqa: RUF012


DECODER = {"num_key_value_heads": 2, "head_dim": 8, "eos_token_id": 2, "bos_token_id": 0}
DECODERS = {
    "qwen2": Family("Qwen2ForCausalLM", "$A", {"num_key_value_heads": 2}),
    "qwen3": Family("Qwen3ForCausalLM", "$A </s>", DECODER),
    "llama": Family("LlamaForCausalLM", "<s> $A", DECODER),
    "mistral": Family("MistralForCausalLM", "<s> $A", DECODER),
}
ENCODERS = {
    "modernbert": Family("ModernBertForMaskedLM", "<s> $A </s>", {"global_attn_every_n_layers": 2}),
    "mpnet": Family("MPNetForMaskedLM", "<s> $A </s>"),
    "deberta-v2": Family(
        "DebertaV2ForMaskedLM",
        "<s> $A </s>",
        {
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
    "xlm-roberta": Family("XLMRobertaForMaskedLM", "<s> $A </s>"),
    "t5": Family("T5ForConditionalGeneration", "$A </s>", {"d_kv": 8, "d_ff": 64}),
}
FAMILIES = DECODERS | ENCODERS
POOLING = {name: "last" for name in DECODERS} | {name: "mean" for name in ENCODERS}
TOKENIZERS = {  # as they record it
    "qwen3": {"tokenizer_class": "Qwen2Tokenizer"},
    "mistral": {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "add_eos_token": False},
}
CONVERTED = ("xlm-roberta",)


def make_tokenizer(name):
    """Byte-level BPE, as Qwen, Llama 3 and ModernBERT have it; that of Llama 2 for Mistral."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=name == "mistral"))
    if name == "mistral":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(" ".join(TEXTS).split(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=FAMILIES[name].around, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def make_folder(folder, name, **tokenizer_config):
    """A model of a family as it is published: config.json, tokenizer.json, model.safetensors."""
    family = FAMILIES[name]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    tokenizer = make_tokenizer(name)
    sizes |= {"intermediate_size": 64, "vocab_size": tokenizer.get_vocab_size(), "pad_token_id": 1}
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **(sizes | family.config))
    getattr(transformers, family.head)(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    about |= {
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "padding_side": "left" if name in DECODERS else "right",
    }
    about |= TOKENIZERS.get(name, {})
    (folder / "tokenizer_config.json").write_text(json.dumps(about | tokenizer_config))
    return str(folder)


def of_sentence_transformers(folder, pooling, max_length=32):
    transformer = Transformer(folder, max_seq_length=max_length)
    mode = "lasttoken" if pooling == "last" else pooling
    return SentenceTransformer(modules=[transformer, Pooling(32, mode), Normalize()], device="cpu")


def spec_of(name, **changes):
    values = {"similarity": "cosine", "pooling": POOLING[name], "tied": True}
    return EncoderSpec(**(values | {"query_max_length": 32, "passage_max_length": 32} | changes))


def vectors(encoder, batch_tokens=200):
    return encoder.embed(encoder.tokenize(TEXTS, "passage"), "passage", batch_tokens)


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    (tmp_path / "model").mkdir()
    return request.param, make_folder(tmp_path / "model", request.param)


def test_vectors_are_those_of_sentence_transformers_and_are_kept(family, tmp_path):
    name, folder = family
    encoder = pretrained(folder, spec_of(name)).eval()
    assert encoder.dimension == 32
    ours = vectors(encoder)
    theirs = of_sentence_transformers(folder, POOLING[name])
    np.testing.assert_allclose(ours, theirs.encode(TEXTS), atol=1e-5)
    checkpoint.save(encoder, tmp_path / "saved")
    np.testing.assert_array_equal(vectors(checkpoint.load(tmp_path / "saved")), ours)
    again = pretrained(str(tmp_path / "saved"), spec_of(name)).eval()
    np.testing.assert_array_equal(vectors(again), ours)
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(saved.encode_document(TEXTS), ours, atol=1e-5)
    assert np.abs(ours[0] - ours[1]).max() > 0.01  # they say something


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_padding_on_the_left_changes_no_vector(tmp_path, name, pooling):
    folder = make_folder(tmp_path, name)
    theirs = of_sentence_transformers(folder, pooling)
    assert theirs.tokenizer.padding_side == "left"
    assert theirs.preprocess(TEXTS)["attention_mask"][0, 0] == 0
    ours = vectors(pretrained(folder, spec_of(name, pooling=pooling)).eval())
    np.testing.assert_allclose(ours, theirs.encode(TEXTS), atol=1e-5)


def test_a_tokenizer_without_a_padding_token_is_refused(tmp_path):
    folder = make_folder(tmp_path, "llama", pad_token=None)
    with pytest.raises(InputError, match=r"model\.name: .* no padding token .*EOS token \(</s>\)"):
        pretrained(folder, spec_of("llama"))


@pytest.mark.parametrize("name", DECODERS)
def test_an_appended_eos_is_kept_when_truncated_and_when_saved(tmp_path, name):
    (tmp_path / "model").mkdir()
    folder = make_folder(tmp_path / "model", name)
    encoder = pretrained(folder, spec_of(name, append_eos=True)).eval()
    first = [0] if "<s>" in FAMILIES[name].around else []
    plain = Tokenizer.from_file(f"{folder}/tokenizer.json")
    inside = [plain.encode(text, add_special_tokens=False).ids for text in TEXTS]
    expected = [[*first, *ids[: 31 - len(first)], 2] for ids in inside]
    assert max(map(len, expected)) == 32
    checkpoint.save(encoder, tmp_path / "saved")
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    loaded = checkpoint.load(tmp_path / "saved")
    direct = dpr.encoders.tokens.Tokenizer.open(tmp_path / "saved")
    for one in (encoder, loaded, direct):
        assert [ids.tolist() for ids in one.tokenize(TEXTS, "passage")] == expected
    assert theirs.tokenizer(TEXTS, truncation=True)["input_ids"] == expected
    np.testing.assert_allclose(theirs.encode_document(TEXTS), vectors(encoder), atol=1e-5)


def test_instructions_of_several_lines(tmp_path):
    """As Qwen3-Embedding records them."""
    instruction = "Instruct: Given a question, retrieve passages that answer it\nQuery:"
    (tmp_path / "model").mkdir()
    folder = str(tmp_path / "recorded")
    plain = make_folder(tmp_path / "model", "qwen3")
    of_sentence_transformers(plain, "last", 128).save(folder)
    about = {"prompts": {"query": instruction, "document": ""}, "similarity_fn_name": "cosine"}
    (tmp_path / "recorded/config_sentence_transformers.json").write_text(json.dumps(about))
    theirs = SentenceTransformer(folder, device="cpu")
    texts = ["what is a heart?", " two\nlines \n", "eye"]
    spec = spec_of("qwen3", query_max_length=128, passage_max_length=128)
    for source, prefix in ((folder, None), (folder, instruction), (plain, instruction)):
        respect = source == folder
        given = replace(spec, query_prefix=prefix)
        encoder = pretrained(source, given, respect_modules=respect).eval()
        checkpoint.save(encoder, tmp_path / "saved")
        saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
        for role, encode in (("query", "encode_query"), ("passage", "encode_document")):
            ours = encoder.embed(encoder.tokenize(texts, role), role, 200)
            for model in (theirs, saved):
                np.testing.assert_allclose(getattr(model, encode)(texts), ours, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_in_half_precision(tmp_path, name):
    """Rounded once: the angles of rotary embeddings, among others, stay in fp32."""
    (tmp_path / "model").mkdir()
    spec = spec_of(name, passage_max_length=300)
    encoder = pretrained(make_folder(tmp_path / "model", name), spec, dtype="bfloat16").eval()
    assert {p.dtype for p in encoder.parameters()} == {torch.bfloat16}
    checkpoint.save(encoder, tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["dtype"] == "bfloat16"
    loaded = checkpoint.load(tmp_path / "saved")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    tokens = encoder.tokenize(["heart and lung " * 90], "passage")
    ours = encoder.embed(tokens, "passage", 300)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(loaded.embed(tokens, "passage", 300), ours)
    options = CPU, 1, tmp_path / "cache"
    half = open_engine(tmp_path / "saved", "bf16", *options).encoder
    np.testing.assert_array_equal(half.embed(tokens, "passage", 300), ours)
    exact = open_engine(tmp_path / "saved", "fp32", *options).encoder
    kwargs = {"dtype": torch.float32}
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu", model_kwargs=kwargs)
    expected = theirs.encode_document(["heart and lung " * 90])
    np.testing.assert_allclose(exact.embed(tokens, "passage", 300), expected, atol=1e-5)


@pytest.mark.parametrize(("lora_rank", "dtype"), [(0, "float32"), (4, "float32"), (4, "bfloat16")])
def test_a_training_step_changes_what_is_trained(family, lora_rank, dtype):
    name, folder = family
    encoder = pretrained(folder, spec_of(name), dtype=dtype)
    parameters.prepare(encoder, settings(lora_rank=lora_rank))
    before = {key: p.detach().clone() for key, p in encoder.passage.named_parameters()}
    optimizer = torch.optim.AdamW(parameters.groups(encoder, 1e-2, 0.01))
    out = encoder(encoder.tokenize(TEXTS, "passage"), "passage")
    loss = (out @ out.T)[0, 1:].square().sum()
    loss.backward()
    trained = {key: p for key, p in encoder.passage.named_parameters() if p.requires_grad}
    assert trained
    without = [key for key, p in trained.items() if p.grad is None]
    assert not without
    assert all(p.grad.isfinite().all() for p in trained.values())
    optimizer.step()
    after = dict(encoder.passage.named_parameters())
    unchanged = {key for key, old in before.items() if torch.equal(old, after[key])}
    if lora_rank:
        assert all("lora" in key for key in trained)
    assert {key for key in before if key not in trained} == unchanged
    parameters.merge(encoder)
    assert np.isfinite(vectors(encoder.eval())).all()


@pytest.mark.parametrize("precision", ["auto", "fp32", "int8"])
def test_an_engine_or_one_clear_error(family, tmp_path, capsys, monkeypatch, precision):
    name, folder = family
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    encoder = pretrained(folder, spec_of(name)).eval()
    checkpoint.save(encoder, tmp_path / "saved")
    options = tmp_path / "saved", precision, CPU, 1, tmp_path / "cache"
    if name not in CONVERTED and precision == "int8":
        with pytest.raises(InputError, match=r"encode\.precision: int8: .*CTranslate2 cannot run"):
            open_engine(*options)
        return
    engine = open_engine(*options)
    assert engine.name == ("ctranslate2" if name in CONVERTED else "torch")
    assert ("CTranslate2 cannot run it" in capsys.readouterr().err) == (engine.name == "torch")
    tokens = encoder.tokenize(TEXTS, "passage")
    found = engine.encoder.embed(tokens, "passage", 200)
    np.testing.assert_allclose(found, vectors(encoder), atol=1e-5 if precision == "fp32" else 0.05)
