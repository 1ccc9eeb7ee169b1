"""Decoders as encoders: padding, EOS and instructions, beside sentence-transformers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tokenizers
from family_helpers import DECODERS, TEXTS, make_folder, of_sentence_transformers, spec_of, vectors
from sentence_transformers import SentenceTransformer

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.encoders.tokens import Tokenizer


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
    first = [0] if "<s>" in DECODERS[name].around else []
    plain = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    inside = [plain.encode(text, add_special_tokens=False).ids for text in TEXTS]
    expected = [[*first, *ids[: 31 - len(first)], 2] for ids in inside]
    assert max(map(len, expected)) == 32
    checkpoint.save(encoder, tmp_path / "saved")
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    loaded = checkpoint.load(tmp_path / "saved")
    direct = Tokenizer.open(tmp_path / "saved")
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
    spec = spec_of("qwen3", query_max_length=32, passage_max_length=128)
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
