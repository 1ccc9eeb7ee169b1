"""Tokenizers that transformers 5 rebuilds wrongly: all readers give the ids of tokenizer.json."""

import json

import family_helpers
import numpy as np
import pytest
import tokenizers
import torch
from helpers import change_json, open_model
from sentence_transformers import SentenceTransformer
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel

from dpr.base.errors import InputError
from dpr.encoders import checkpoint
from dpr.encoders.tokens import Tokenizer

CORPUS = [
    "The Heart and the lung of a patient, and the Liver.",
    "Étude clinique à São Paulo: naïve café résumé",
    "a study of the heart in 40 patients",
]
TEXTS = [*CORPUS, "", "Heart", " heart  lung", "Größe", "unseen Wörter 糖尿病", "the liver " * 30]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
NAMED = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
NAMED |= {"eos_token": "</s>", "bos_token": "<s>", "mask_token": "<mask>"}
TEMPLATE = {"single": "<s> $A </s>", "special_tokens": [("<s>", 1), ("</s>", 2)]}
LENGTHS = {"query_max_length": 24, "passage_max_length": 24}


def unigram():
    made = tokenizers.Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made, trainers.UnigramTrainer(
        vocab_size=90, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )


def wordpiece(**normalizer):
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="<unk>"))
    made.normalizer = normalizers.BertNormalizer(**normalizer)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    return made, trainer


def byte_bpe(add_prefix_space=False):
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return made, trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )


KINDS = {
    "unigram under bert": ("bert", unigram()),
    "cased wordpiece under bert": ("bert", wordpiece(lowercase=False, strip_accents=False)),
    "accents kept in the file alone": ("bert", wordpiece(lowercase=True, strip_accents=False)),
    "byte bpe under bert": ("bert", byte_bpe()),
    "byte bpe under mpnet": ("mpnet", byte_bpe()),
    "byte bpe under xlm-roberta": ("xlm-roberta", byte_bpe()),
    "add_prefix_space in the file alone": ("roberta", byte_bpe(add_prefix_space=True)),
}


def make_folder(folder, kind, **about):
    """A model whose tokenizer_config.json names special tokens, but no class."""
    folder.mkdir()
    model_type, (tokenizer, trainer) = KINDS[kind]
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(**TEMPLATE)
    tokenizer.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 32, "vocab_size": 400, "pad_token_id": 0}
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, max_position_embeddings=64, **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps(NAMED | about))
    return str(folder)


def of_file(folder, texts=TEXTS, length=24, side="right"):
    """Ids by the tokenizers library alone."""
    raw = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    raw.enable_truncation(length, direction=side)
    return [raw.encode(text).ids for text in texts]


def of_all_readers(encoder, folder):
    """Ids of the texts by each reader of a saved encoder, sentence-transformers last."""
    checkpoint.save(encoder, folder)
    ours = [encoder, checkpoint.load(folder), Tokenizer.open(folder)]
    ours += [open_model(folder)]
    theirs = SentenceTransformer(str(folder), device="cpu")
    loaded = checkpoint.load(folder)
    vectors = loaded.embed(loaded.tokenize(TEXTS, "passage"), "passage", 99)
    np.testing.assert_allclose(theirs.encode_document(TEXTS), vectors, atol=1e-5)
    found = [[ids.tolist() for ids in one.tokenize(TEXTS, "passage")] for one in ours]
    return [*found, theirs.tokenizer(TEXTS, truncation=True)["input_ids"]]


@pytest.mark.parametrize("kind", KINDS)
def test_all_readers_give_the_ids_of_the_file(tmp_path, kind):
    folder = make_folder(tmp_path / "model", kind)
    encoder = open_model(folder, **LENGTHS)
    expected = of_file(folder)
    assert len({tuple(ids) for ids in expected}) == len(TEXTS)
    for found in of_all_readers(encoder, tmp_path / "saved"):
        assert found == expected


@pytest.mark.parametrize(
    ("kind", "about", "append_eos"),
    [
        # As Qwen2's or BERT's class, which rebuild the end of a text.
        ("cased wordpiece under bert", {"eos_token": "<mask>"}, True),
        ("byte bpe under bert", {"eos_token": "<mask>", "add_eos_token": True}, False),
        ("byte bpe under mpnet", {"truncation_side": "left"}, False),
    ],
)
def test_an_added_eos_and_the_side_of_truncation_are_those_of_all_readers(
    tmp_path, kind, about, append_eos
):
    folder = make_folder(tmp_path / "model", kind, **about)
    encoder = open_model(folder, append_eos=append_eos, **LENGTHS)
    expected = [[*ids[:23], 4] for ids in of_file(folder, length=23)]
    if "truncation_side" in about:
        expected = of_file(folder, side="left")
        assert expected != of_file(folder)
    for ids in of_all_readers(encoder, tmp_path / "saved"):
        assert ids == expected


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("cased wordpiece under bert", {"do_lower_case": True}),
        ("accents kept in the file alone", {"strip_accents": True}),
        ("add_prefix_space in the file alone", {"add_prefix_space": False}),
    ],
)
def test_two_files_that_contradict_each_other_are_refused(tmp_path, kind, about):
    folder = make_folder(tmp_path / "model", kind, **about)
    key = next(iter(about))
    with pytest.raises(InputError, match=rf"tokenizer_config\.json says {key}: .* local folder"):
        open_model(folder, **LENGTHS)


def test_a_query_model_has_its_own_tokens(tmp_path):
    kind = "cased wordpiece under bert"
    folder, other = (make_folder(tmp_path / name, kind) for name in ("one", "other"))
    state = json.loads((tmp_path / "other/tokenizer.json").read_text())
    state["normalizer"]["strip_accents"] = True
    (tmp_path / "other/tokenizer.json").write_text(json.dumps(state))
    checkpoint.save(open_model(folder, query_name=other, **LENGTHS), tmp_path / "saved")
    for encoder in (checkpoint.load(tmp_path / "saved"), Tokenizer.open(tmp_path / "saved")):
        for role, source in (("query", other), ("passage", folder)):
            assert [ids.tolist() for ids in encoder.tokenize(TEXTS, role)] == of_file(source)
    assert of_file(other) != of_file(folder)


def test_a_tokenizer_that_transformers_cannot_be_told_to_read_is_refused(tmp_path):
    """It takes its own class for Qwen2, which has a normalizer that this file has not."""
    (tmp_path / "model").mkdir()
    folder = family_helpers.make_folder(tmp_path / "model", "qwen2")
    change_json(tmp_path / "model/tokenizer.json", normalizer=None)
    with pytest.raises(InputError, match=r"model\.name: .* its own class for a qwen2"):
        open_model(folder, **LENGTHS)
