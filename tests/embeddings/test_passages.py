import numpy as np
import pytest
from helpers import contents

from dpr.base.errors import InputError
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.passages import encode_passages
from dpr.encoders import checkpoint
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage
from dpr.settings import EncodeSettings


def options(**changes):
    values = {"window": 16, "batch_tokens": 128, "precision": "fp32", "dtype": "float32"} | changes
    return EncodeSettings(**values)


@pytest.fixture
def encode(make_encoder, collection, tmp_path):
    encoder = make_encoder()
    checkpoint.save(encoder, tmp_path / "encoder")

    def run(name="out", encoder=encoder, **changes):
        folder = tmp_path / name
        corpus, scratch = Corpus(collection, ". "), tmp_path / "scratch"
        encode_passages(encoder, tmp_path / "encoder", corpus, options(**changes), folder, scratch)
        return Embeddings.open(folder)

    run.encoder = encoder
    return run


def test_rows_follow_the_corpus(encode, collection):
    made = encode()
    passages = list(beir.read_passages(collection))
    assert made.ids == [p.id for p in passages]
    for row, passage in zip(made.vectors, passages, strict=True):
        tokens = encode.encoder.tokenize([contents(passage)], "passage")
        alone = encode.encoder.embed(tokens, "passage", 1000, "fp32")[0]
        np.testing.assert_allclose(row, alone, atol=2e-6)
    assert made.manifest["similarity"] == "cosine"
    assert made.manifest["count"] == 60


@pytest.mark.parametrize("window", [1, 7, 60, 1000])
def test_the_window_changes_nothing_that_matters(encode, window):
    np.testing.assert_allclose(encode(window=window).vectors, encode("b").vectors, atol=2e-6)


def test_float16_storage(encode):
    half = encode("half", dtype="float16").vectors
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, encode().vectors, atol=1e-3)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(encode, tmp_path, monkeypatch):
    undisturbed = encode("undisturbed")
    original, calls = encode.encoder.embed, []

    def dies_in_third_window(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(encode.encoder, "embed", dies_in_third_window)
    with pytest.raises(KeyboardInterrupt):
        encode("resumed")
    assert not (tmp_path / "resumed").exists()
    resumed = encode("resumed")
    assert len(calls) == 3 + 2  # 60 passages are 4 windows: two were kept
    assert resumed.manifest == undisturbed.manifest
    np.testing.assert_array_equal(resumed.vectors, undisturbed.vectors)
    assert not any(path.is_dir() for path in (tmp_path / "scratch").iterdir())


def test_nan_names_the_passage(encode, make_encoder):
    broken = make_encoder()
    embed = broken.embed

    def with_nan(*args):
        vectors = embed(*args)
        vectors[3] = np.nan
        return vectors

    broken.embed = with_nan
    with pytest.raises(InputError, match=r"passage 'd03' has a vector with NaN"):
        encode(encoder=broken)


def test_an_empty_or_missing_corpus_is_refused_before_anything_is_made(
    encode, collection, tmp_path
):
    beir.write_passages(collection, [])
    with pytest.raises(InputError, match=r"corpus\.jsonl: empty"):
        encode()
    (collection / "corpus.jsonl").unlink()
    with pytest.raises(InputError, match=r"corpus\.jsonl: no such file"):
        encode()
    assert not (tmp_path / "scratch").exists()


def test_a_passage_of_no_text_still_has_a_vector(encode, collection):
    beir.write_passages(collection, [Passage("d0", "", ""), Passage("d1", "", "heart")])
    assert np.isfinite(encode().vectors).all()


def test_damaged_embeddings_are_refused(encode, tmp_path):
    encode()
    path = tmp_path / "out" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"vectors\.npy: cannot be read"):
        Embeddings.open(tmp_path / "out")


def test_a_float16_overflow_names_the_passage(encode, make_encoder):
    large = make_encoder()
    large.embed = lambda tokens, *rest: np.full((len(tokens), 32), 7e4, np.float32)
    with pytest.raises(InputError, match=r"passage 'd00'.*encode\.dtype too narrow"):
        encode(encoder=large, dtype="float16")


def test_progress_without_vectors_starts_again(encode, tmp_path, monkeypatch):
    expected = encode("first").vectors
    made = list((tmp_path / "scratch").glob("*.lock"))
    work = tmp_path / "scratch" / made[0].stem
    work.mkdir()
    (work / "progress.json").write_text('{"rows": 16}')
    np.testing.assert_array_equal(encode("second").vectors, expected)
