import shutil

import numpy as np
import pytest
import torch
from helpers import contents

from dpr.base.errors import InputError
from dpr.embeddings import passages
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.passages import encode_passages
from dpr.encoders import checkpoint
from dpr.encoders.embedder import Embedder
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage
from dpr.settings import EncodeSettings


def options(**changes):
    values = {"window": 16, "batch_tokens": 128, "precision": "fp32", "dtype": "float32"} | changes
    return EncodeSettings(**values)


def forget(tmp_path):
    """Let the next call encode again what another folder has."""
    for note in (tmp_path / "scratch").glob("*.json"):
        note.unlink()


def dies_in_third_window(calls):
    """An embedder that is killed in its third call; later ones go on."""

    def spoiled(embed):
        def embed_or_die(*args):
            calls.append(args)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return embed(*args)

        return embed_or_die

    return spoiled


@pytest.fixture
def encode(make_encoder, collection, tmp_path):
    source = tmp_path / "encoder"
    checkpoint.save(make_encoder(), source)
    cpu = torch.device("cpu")

    def run(name="out", spoil=lambda embed: embed, **changes):
        """`spoil` may replace the embedder's own `embed`."""
        folder, chosen = tmp_path / name, options(**changes)
        embedder = Embedder(source, chosen, cpu, threads=2, scratch=tmp_path / "cache")
        embedder.embed = spoil(embedder.embed)
        corpus, scratch = Corpus(collection, ". "), tmp_path / "scratch"
        encode_passages(embedder, corpus, chosen, folder, scratch)
        return Embeddings.open(folder)

    run.encoder = checkpoint.load(source)
    return run


def test_rows_follow_the_corpus(encode, collection):
    made = encode()
    passages = list(beir.read_passages(collection))
    assert list(made.ids) == [p.id for p in passages]
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


def test_int8_storage(encode):
    stored, exact = encode("int8", dtype="int8"), encode().vectors
    assert stored.vectors.strides[0] == stored.dimension + 4 == 36
    np.testing.assert_array_equal(np.abs(stored.vectors["numbers"]).max(axis=1), 127)
    step = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert (np.abs(stored.read(0, 60) - exact) <= 0.5001 * step).all()
    np.testing.assert_array_equal(stored.take([3, 59]), stored.read(0, 60)[[3, 59]])
    np.testing.assert_array_equal(stored.sample(np.array([3, 59])), stored.take([3, 59]))


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(encode, tmp_path):
    undisturbed = encode("undisturbed")
    forget(tmp_path)
    calls = []
    with pytest.raises(KeyboardInterrupt):
        encode("resumed", dies_in_third_window(calls))
    assert not (tmp_path / "resumed").exists()
    resumed = encode("resumed", dies_in_third_window(calls))
    assert len(calls) == 3 + 2  # 60 passages are 4 windows: two were kept
    assert resumed.manifest == undisturbed.manifest
    np.testing.assert_array_equal(resumed.vectors, undisturbed.vectors)
    assert list(resumed.ids) == list(undisturbed.ids)
    assert not any(path.is_dir() for path in (tmp_path / "scratch").iterdir())


def test_nan_names_the_passage(encode):
    def with_nan(embed):
        def embed_badly(*args):
            vectors = embed(*args)
            vectors[3] = np.nan
            return vectors

        return embed_badly

    with pytest.raises(InputError, match=r"passage 'd03' has a vector with NaN"):
        encode("out", with_nan)


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


def test_a_float16_overflow_names_the_passage(encode):
    def large(embed):
        return lambda tokens, *rest: np.full((len(tokens), 32), 7e4, np.float32)

    with pytest.raises(InputError, match=r"passage 'd00'.*encode\.dtype too narrow"):
        encode("out", large, dtype="float16")


def test_a_run_that_is_killed_after_its_last_window_encodes_nothing_again(
    encode, tmp_path, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(passages, "_write_manifest", killed)
        encode("out")
    resumed = encode("out", lambda embed: lambda *_: pytest.fail("encoded again"))
    forget(tmp_path)
    np.testing.assert_array_equal(resumed.vectors, encode("undisturbed").vectors)


def test_what_a_killed_run_has_done_is_kept_if_there_is_nothing_to_copy(encode, tmp_path):
    encode("gone")
    shutil.rmtree(tmp_path / "gone")
    calls = []
    with pytest.raises(KeyboardInterrupt):
        encode("out", dies_in_third_window(calls))
    encode("out", dies_in_third_window(calls))
    assert len(calls) == 3 + 2


def test_progress_without_vectors_starts_again(encode, tmp_path, monkeypatch):
    expected = encode("first").vectors
    made = list((tmp_path / "scratch").glob("*.lock"))
    work = tmp_path / "scratch" / made[0].stem
    (work / "windows").mkdir(parents=True)
    (work / "windows/0.txt").write_text("d00\n")
    forget(tmp_path)
    np.testing.assert_array_equal(encode("second").vectors, expected)


def test_the_manifest_names_the_format(encode):
    assert encode("exact").manifest["format"] == "fp32"
    assert encode("small", precision="int8").manifest["format"] == "int8"


def test_equal_embeddings_are_not_made_twice(encode, tmp_path):
    def never(embed):
        return lambda *args: pytest.fail("encoded again")

    first = encode("first")
    # only another folder is copied from: a stage that is forced to run does its work
    with pytest.raises(pytest.fail.Exception):
        encode("first", never)
    second = encode("second", never)
    assert (list(second.ids), second.manifest) == (list(first.ids), first.manifest)
    np.testing.assert_array_equal(second.vectors, first.vectors)
    expected = np.array(first.vectors)
    (tmp_path / "second" / "vectors.npy").write_bytes(b"damaged")
    encode("third", never)  # from the first
    (tmp_path / "first" / "vectors.npy").write_bytes(b"damaged")
    (tmp_path / "third" / "ids.txt").unlink()
    np.testing.assert_array_equal(encode("fourth").vectors, expected)


def test_a_copy_has_nothing_of_a_killed_run(encode, tmp_path):
    first = encode("first")
    made = list((tmp_path / "scratch").glob("*.lock"))
    work = tmp_path / "scratch" / made[0].stem
    (work / "windows").mkdir(parents=True)
    (work / "windows/0.txt").write_text("d00\n")
    second = encode("second")
    np.testing.assert_array_equal(second.vectors, first.vectors)
    files = sorted(path.name for path in (tmp_path / "second").iterdir())
    assert files == ["ids.npy", "ids.txt", "manifest.json", "vectors.npy"]


def test_what_is_not_whole_is_not_copied(encode, tmp_path):
    first = encode("first")
    (tmp_path / "first" / "ids.txt").unlink()
    second = encode("second")
    assert list(second.ids) == list(first.ids)
    np.testing.assert_array_equal(second.vectors, first.vectors)


def test_the_corpus_is_parsed_once(encode, collection, monkeypatch):
    texts, calls = Corpus.texts, []
    monkeypatch.setattr(Corpus, "texts", lambda *args: calls.append(1) or texts(*args))
    encode()
    assert len(calls) == 1
