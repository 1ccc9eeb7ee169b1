"""What a model records, and what contradicts it. (The vectors: comparison/test_prompts.py.)"""

import json
from dataclasses import replace

import pytest
from helpers import POOLINGS, change_json, folder_of_sentence_transformers

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.pretrained import pretrained
from dpr.encoders.recorded import Recorded, read_modules
from dpr.encoders.spec import EncoderSpec

SPEC = EncoderSpec("cosine", "mean", True, 16, 32)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_an_encoder_of_ours_is_read_back_as_a_model(make_encoder, tmp_path, pooling, similarity):
    encoder = make_encoder(pooling=pooling, similarity=similarity, query_prefix="q: ")
    checkpoint.save(encoder, tmp_path / "ours")
    found = read_modules(str(tmp_path / "ours"))
    assert found == Recorded(pooling, similarity == "cosine", similarity, "q: ", "", 32, False)
    assert pretrained(str(tmp_path / "ours"), encoder.spec).spec == encoder.spec


@pytest.fixture
def recorded(tiny_model, tmp_path):
    """A model with prompts, trained on 24 tokens."""
    folder = folder_of_sentence_transformers(tiny_model, tmp_path / "st", "mean", normalize=True)
    prompts = {"query": "query: ", "document": "passage: "}
    change_json(tmp_path / "st/config_sentence_transformers.json", prompts=prompts)
    lengths = {"max_seq_length": 24, "do_lower_case": False}
    (tmp_path / "st/sentence_bert_config.json").write_text(json.dumps(lengths))
    return folder


FITS = replace(SPEC, passage_max_length=22)  # and 2 tokens of the prompt


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(FITS, query_prefix=""), r"model\.query_prefix: .* records 'query: ', not ''"),
        (replace(FITS, passage_prefix="x"), r"passage_prefix: .* records 'passage: ', not 'x'"),
        (SPEC, r"model\.passage_max_length: .* records 24 tokens, fewer than 32"),
        (replace(FITS, query_max_length=25), r"model\.query_max_length: .* 24 tokens, fewer"),
        (
            replace(FITS, passage_max_length=23),
            r"passage_max_length: .* 24 tokens, fewer than 23 and 2 of the prompt; set 22,",
        ),
    ],
)
def test_what_contradicts_the_record_is_refused(recorded, spec, message):
    with pytest.raises(InputError, match=message):
        pretrained(recorded, spec)
    taken = pretrained(recorded, spec, respect_modules=False).spec
    assert taken.query_prefix == (spec.query_prefix or "")


def test_what_agrees_with_the_record_or_is_open_is_taken(recorded, tiny_model):
    for spec in (FITS, replace(FITS, query_prefix="query: ", passage_prefix="passage: ")):
        completed = pretrained(recorded, spec).spec
        assert (completed.query_prefix, completed.passage_prefix) == ("query: ", "passage: ")
    assert pretrained(recorded, replace(FITS, passage_max_length=8)).spec.passage_max_length == 8
    free = pretrained(tiny_model, replace(SPEC, query_prefix="find: ")).spec  # it records none
    assert (free.query_prefix, free.passage_prefix) == ("find: ", "")


def test_a_prompt_without_tokens_for_a_text_or_in_the_pooling_is_refused(recorded, tmp_path):
    prompts = {"query": "the heart and the lung " * 5, "document": ""}
    change_json(tmp_path / "st/config_sentence_transformers.json", prompts=prompts)
    with pytest.raises(InputError, match=r"16 and 25 of the prompt; shorten model\.query_prefix"):
        pretrained(recorded, FITS)
    change_json(tmp_path / "st/1_Pooling/config.json", include_prompt=False)
    with pytest.raises(InputError, match="leaves out the tokens of the prompt"):
        pretrained(recorded, FITS)


def test_a_length_of_nothing_but_special_tokens_is_refused(tiny_model):
    with pytest.raises(InputError, match=r"query_max_length: .* adds 2 tokens to each text"):
        pretrained(tiny_model, replace(SPEC, query_max_length=2))


def test_a_local_folder_has_no_revisions(tiny_model):
    with pytest.raises(InputError, match=r"model\.revision: .* is no hub model"):
        pretrained(tiny_model, SPEC, revision="main")
    with pytest.raises(InputError, match=r"model\.query_revision: .* is no hub model"):
        pretrained(tiny_model, replace(SPEC, tied=False), tiny_model, query_revision="main")


def test_a_revision_is_asked_for(monkeypatch):
    """Of all files of a hub model."""
    asked = []

    def cached_file(source, name, revision=None, **options):
        asked.append(revision)

    monkeypatch.setattr("dpr.encoders.recorded.cached_file", cached_file)
    assert read_modules("some/model", "a1b2c3") is None
    assert asked == ["a1b2c3"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"model\.name: cannot load 'some/model'"):
        pretrained("some/model", SPEC, revision="a1b2c3")


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["cls", "lasttoken"]}, "cls+last"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "last"),
    ],
)
def test_both_ways_in_which_a_pooling_is_recorded(recorded, tmp_path, settings, pooling):
    (tmp_path / "st/1_Pooling/config.json").write_text(json.dumps(settings))
    assert read_modules(recorded).pooling == pooling


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["Transformer", "Pooling", "LSTM"], "its modules are .*'LSTM'.*; set model.respect_mod"),
        (["Transformer", "Pooling", "Dense"], "it has a Dense module; set model.respect_modules"),
        (["WordEmbeddings", "Pooling"], "its modules are .*'WordEmbeddings'"),
    ],
)
def test_modules_without_an_equivalent_are_refused(recorded, tmp_path, kinds, message):
    folders = ("", "1_Pooling", "2_Dense")
    rows = [{"type": f"x.{kind}", "path": folders[i]} for i, kind in enumerate(kinds)]
    (tmp_path / "st/modules.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match=rf"model\.name: cannot load .*{message}"):
        pretrained(recorded, FITS)
