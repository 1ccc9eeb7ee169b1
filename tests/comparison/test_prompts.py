"""The prompts that a model records, beside what sentence-transformers does with them."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import POOLINGS, change_json, folder_of_sentence_transformers
from sentence_transformers import SentenceTransformer

from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.encoders.spec import EncoderSpec

SPEC = EncoderSpec("cosine", "mean", True, 16, 28)  # and 2 tokens of a prompt
TEXTS = ["heart", "a study of Bone"]
RECORD = "config_sentence_transformers.json"
PROMPTS = {"query": "query: ", "document": "passage: "}


def vectors(encoder, role):
    return encoder.embed(encoder.tokenize(TEXTS, role), role, 64, "fp32")


@pytest.mark.parametrize(("pooling", "tied"), list(itertools.product(POOLINGS, [True, False])))
def test_recorded_prompts_are_used(make_encoder, tmp_path, pooling, tied):
    """Of one folder, or of one for each role; and once more from what is saved then."""
    if pooling == "pooler":  # their library has no such module: a folder of ours
        checkpoint.save(make_encoder(pooling=pooling), tmp_path / "st")
        folder = str(tmp_path / "st")
    else:
        source = tmp_path / "tiny"
        checkpoint.save(make_encoder(), source)
        mode = "lasttoken" if pooling == "last" else pooling
        folder = folder_of_sentence_transformers(str(source), tmp_path / "st", mode, True)
    change_json(Path(folder) / RECORD, prompts=PROMPTS)
    spec = replace(SPEC, pooling=pooling, tied=tied)
    encoder = pretrained(folder, spec, None if tied else folder).eval()
    checkpoint.save(encoder, tmp_path / "ours")
    for theirs in (folder, str(tmp_path / "ours")):
        model = SentenceTransformer(theirs, device="cpu")
        np.testing.assert_allclose(model.encode_query(TEXTS), vectors(encoder, "query"), atol=2e-6)
        documents = model.encode_document(TEXTS)
        np.testing.assert_allclose(documents, vectors(encoder, "passage"), atol=2e-6)
    assert np.abs(documents - model.encode(TEXTS, prompt="")).max() > 0.001  # it matters


@pytest.mark.parametrize(
    ("prompts", "default", "passage_prompt"),
    [
        ({"query": "find: ", "passage": "text: "}, None, "passage"),
        ({"query": "find: ", "corpus": "text: "}, None, "corpus"),
        ({"retrieval": "represent: "}, "retrieval", "retrieval"),
    ],
)
def test_prompts_by_different_names_and_by_default(
    tiny_model, tmp_path, prompts, default, passage_prompt
):
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", "mean", True)
    change_json(Path(folder) / RECORD, prompts=prompts, default_prompt_name=default)
    theirs, ours = SentenceTransformer(folder, device="cpu"), pretrained(folder, SPEC).eval()
    expected = theirs.encode(TEXTS, prompt_name=passage_prompt)
    np.testing.assert_allclose(vectors(ours, "passage"), expected, atol=2e-6)
    queries = theirs.encode(TEXTS) if default else theirs.encode_query(TEXTS)
    np.testing.assert_allclose(vectors(ours, "query"), queries, atol=2e-6)


def test_lower_case_is_recorded_and_kept(tiny_model, tmp_path):
    """The tokenizer of the tiny model folds case itself: one that does not is made of it."""
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", "mean", True)
    tokenizer = tmp_path / "st/tokenizer.json"
    normalizer = json.loads(tokenizer.read_text())["normalizer"]
    assert normalizer["lowercase"]
    change_json(tokenizer, normalizer=normalizer | {"lowercase": False})
    change_json(tmp_path / "st/tokenizer_config.json", do_lower_case=False)
    kept = pretrained(folder, SPEC).tokenize(TEXTS, "passage")
    change_json(tmp_path / "st/sentence_bert_config.json", do_lower_case=True)
    encoder = pretrained(folder, SPEC).eval()
    lowered = encoder.tokenize(TEXTS, "passage")
    assert [list(t) for t in lowered] != [list(t) for t in kept]
    checkpoint.save(encoder, tmp_path / "ours")
    for source in (folder, str(tmp_path / "ours")):
        theirs = SentenceTransformer(source, device="cpu").encode(TEXTS)
        np.testing.assert_allclose(vectors(encoder, "passage"), theirs, atol=2e-6)
