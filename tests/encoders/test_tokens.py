"""Token ids are those of transformers; batches of similar length keep their budget."""

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.tokens import Tokenizer, token_batches

TEXTS = ["heart", "", "The lung, the liver & two bones (n = 32).", "lung " * 300]


@pytest.mark.parametrize("tied", [True, False])
def test_token_ids_are_those_of_transformers(make_encoder, tiny_model, tmp_path, tied):
    encoder = make_encoder(tied=tied, query_prefix="query: ", passage_prefix="the ")
    checkpoint.save(encoder, tmp_path / "encoder")
    theirs = AutoTokenizer.from_pretrained(tiny_model)
    for role, prefix, limit in (("query", "query: ", 16 + 2), ("passage", "the ", 32 + 1)):
        asked = [prefix + text for text in TEXTS]
        expected = theirs(asked, truncation=True, max_length=limit)["input_ids"]
        for tokenizer in (encoder, Tokenizer.open(tmp_path / "encoder")):
            found = tokenizer.tokenize(TEXTS, role)
            assert [ids.tolist() for ids in found] == expected
            assert {ids.dtype for ids in found} == {np.dtype(np.int32)}
        counts = Tokenizer.open(tmp_path / "encoder").count(TEXTS, role)
        assert counts == [len(ids) for ids in theirs(TEXTS, verbose=False)["input_ids"]]


def test_a_long_prompt_takes_no_token_from_a_text(make_encoder, tmp_path):
    """Else two queries become the same tokens: those of the prompt."""
    prompt = "Instruct: given a question, retrieve passages of abstracts that answer the question. "
    encoder = make_encoder(query_prefix=prompt)
    theirs = encoder.query.first.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert len(theirs) > encoder.spec.query.max_length - 2
    texts = ["the heart " * 20, "zinc deficiency", "the lung"]
    ids = [ids.tolist() for ids in encoder.tokenize(texts, "query")]
    plain = [ids.tolist() for ids in make_encoder().tokenize(texts, "query")]
    assert ids == [[own[0], *theirs, *own[1:]] for own in plain]
    one, two, three = encoder.embed(encoder.tokenize(texts, "query"), "query", 999)
    assert max(one @ two, one @ three, two @ three) < 0.9999
    checkpoint.save(encoder, tmp_path / "saved")
    saved = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(saved.encode_query(texts[1:]), [two, three], atol=2e-6)


@pytest.mark.parametrize(("changes", "length"), [({}, 40), ({"tied": False}, 18)])
def test_sentence_transformers_truncates_a_prompt_and_its_text_together(
    make_encoder, tmp_path, changes, length
):
    """So its lengths in what is saved have the prompt's tokens too."""
    prefixes = {"query_prefix": "find: ", "passage_prefix": "a passage about the heart and lungs: "}
    encoder = make_encoder(**prefixes, **changes)
    checkpoint.save(encoder, tmp_path / "saved")
    folder = "." if encoder.spec.tied else "query_0_Transformer"
    file = f"{folder}/tokenizer_config.json"
    assert json.loads((tmp_path / "saved" / file).read_text())["model_max_length"] == length
    texts = ["lung " * 90, "heart"]
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    for role, encode in (("query", theirs.encode_query), ("passage", theirs.encode_document)):
        ours = encoder.embed(encoder.tokenize(texts, role), role, 200)
        np.testing.assert_allclose(encode(texts), ours, atol=2e-6)


def test_a_damaged_tokenizer_is_refused(make_encoder, tmp_path):
    checkpoint.save(make_encoder(), tmp_path / "encoder")
    file = tmp_path / "encoder" / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"tokenizer\.json: cannot be read .* make it again"):
        Tokenizer.open(tmp_path / "encoder")


def test_lengths_in_tokens(make_encoder):
    encoder = make_encoder()
    assert [len(t) for t in encoder.tokenize(["lung " * 90], "query")] == [16]
    assert [len(t) for t in encoder.tokenize(["lung " * 90], "passage")] == [32]
    assert [len(t) for t in encoder.tokenize(["lung " * 90], "passage", 20)] == [20]
    assert [len(t) for t in encoder.tokenize(["heart"], "passage")] == [3]


def test_batches_keep_the_budget_and_hold_each_text_once():
    rng = np.random.default_rng(0)
    tokens = [np.zeros(n, np.int32) for n in rng.integers(1, 90, size=300)]
    batches = list(token_batches(tokens, 100))
    assert sorted(i for batch in batches for i in batch) == list(range(300))
    for batch in batches:
        padded = len(batch) * max(len(tokens[i]) for i in batch)
        assert padded <= 100 or len(batch) == 1


def test_a_text_longer_than_the_budget_is_a_batch_of_its_own():
    assert list(token_batches([np.zeros(50), np.zeros(3)], 10)) == [[0], [1]]


def test_an_empty_text_of_a_tokenizer_that_adds_nothing(make_encoder):
    """Such as Qwen2's: it has a vector, and changes no other."""
    encoder = make_encoder(similarity="dot")
    encoder.query.first.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A")
    tokens = encoder.tokenize(["", "heart", ""], "query")
    assert [len(ids) for ids in tokens] == [0, 1, 0]
    assert list(token_batches(tokens[::2], 10)) == [[0, 1]]
    vectors = encoder.embed(tokens, "query", 64)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(encoder.embed(tokens[1:2], "query", 64), vectors[1:2], atol=1e-6)
    np.testing.assert_allclose(encoder.embed(tokens[:1], "query", 64), vectors[2:], atol=1e-6)
