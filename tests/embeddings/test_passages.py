"""Encoding a corpus: its rows, how they are stored, and what is refused."""

import numpy as np
import pytest
from helpers import contents

from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage


def test_rows_follow_the_corpus_which_is_parsed_once(encode, collection, monkeypatch):
    texts, calls = Corpus.texts, []
    monkeypatch.setattr(Corpus, "texts", lambda *args: calls.append(1) or texts(*args))
    embeddings = encode()
    assert len(calls) == 1
    passages = list(beir.read_passages(collection))
    assert list(embeddings.ids) == [p.id for p in passages]
    for row, passage in zip(embeddings.vectors, passages, strict=True):
        tokens = encode.encoder.tokenize([contents(passage)], "passage")
        alone = encode.encoder.embed(tokens, "passage", 1000, "fp32")[0]
        np.testing.assert_allclose(row, alone, atol=2e-6)
    expected = {"similarity": "cosine", "count": 60, "format": "fp32"}
    assert embeddings.manifest | expected == embeddings.manifest


@pytest.mark.parametrize("window", [1, 7, 60, 1000])
def test_the_window_changes_nothing_that_matters(encode, window):
    np.testing.assert_allclose(encode(window=window).vectors, encode("b").vectors, atol=2e-6)


def test_storage_in_float16_and_int8(encode):
    exact = encode("exact").vectors
    half = encode("half", dtype="float16").vectors
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, exact, atol=1e-3)
    stored = encode("int8", dtype="int8")
    assert stored.vectors.strides[0] == stored.dimension + 4 == 36
    np.testing.assert_array_equal(np.abs(stored.vectors["numbers"]).max(axis=1), 127)
    step = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert (np.abs(stored.read(0, 60) - exact) <= 0.5001 * step).all()
    np.testing.assert_array_equal(stored.take([3, 59]), stored.read(0, 60)[[3, 59]])
    np.testing.assert_array_equal(stored.sample(np.array([3, 59])), stored.take([3, 59]))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 7e4])
def test_a_vector_that_cannot_be_searched_names_the_passage(encode, value):
    """7e4 is infinity in float16, and a norm of 0 is none of a cosine."""

    def spoil(embed):
        def embed_badly(*args):
            vectors = embed(*args)
            vectors[3] = value
            return vectors

        return embed_badly

    with pytest.raises(InputError, match=r"passage 'd03' has a vector with NaN, infinity or norm"):
        encode("out", spoil, dtype="float16")


def test_an_empty_or_missing_corpus_is_refused_before_anything_is_made(
    encode, collection, tmp_path
):
    beir.write_passages(collection, [])
    with pytest.raises(InputError, match=r"corpus\.jsonl: empty"):
        encode()
    (collection / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl: no such file"):
        encode()
    assert not (tmp_path / "scratch/encode").exists()


def test_a_passage_of_no_text_still_has_a_vector(encode, collection):
    beir.write_passages(collection, [Passage("d0", "", ""), Passage("d1", "", "heart")])
    assert np.isfinite(encode().vectors).all()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((60, 4, 0), np.float32),  # found by fuzzing: '<0f4' as the type
        np.zeros((60, 4), ">f4"),
        np.zeros((60, 4), np.int8),
        np.zeros(60, [("numbers", np.int8), ("scale", np.float32)]),
        np.zeros(60, [("other", np.int8, 4)]),
    ],
)
def test_an_array_that_is_no_vectors_is_refused(embeddings_folder, array):
    np.save(embeddings_folder / "vectors.npy", array)
    with pytest.raises(InputError, match=r"vectors\.npy: damaged, no vectors; encode again"):
        Embeddings.open(embeddings_folder)


def test_damaged_embeddings_are_refused(embeddings_folder):
    ids, vectors = (embeddings_folder / name for name in ("ids.txt", "vectors.npy"))
    text = ids.read_text()
    ids.write_text(text.replace("d00", "d0x"))
    with pytest.raises(InputError, match=r"ids\.txt: damaged"):
        Embeddings.open(embeddings_folder)
    ids.write_text(text)
    Embeddings.open(embeddings_folder)
    vectors.write_bytes(vectors.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"vectors\.npy: cannot be read"):
        Embeddings.open(embeddings_folder)
