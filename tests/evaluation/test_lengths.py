import numpy as np
import pytest

from dpr.evaluation.lengths import spaced, statistics, token_lengths, warnings


def test_lengths_count_every_token_and_truncate_nothing(make_encoder):
    encoder = make_encoder(passage_prefix="the ")
    tokenizer = encoder.tokenizer
    texts = ["heart", "", "lung " * 300]
    assert token_lengths(tokenizer, texts, "query").tolist() == [3, 2, 302]
    assert token_lengths(tokenizer, texts, "passage").tolist() == [3, 2, 302]  # no prompt


def test_what_is_counted_as_truncated_is_what_is_truncated(make_encoder):
    """With a prompt before each text, at the edge."""
    encoder = make_encoder(query_prefix="find the ")
    tokenizer = encoder.tokenizer
    texts = ["lung " * count for count in (13, 14, 15, 16)]
    found = statistics(token_lengths(tokenizer, texts, "query"), encoder.spec.query.max_length)
    kept = [len(ids) for ids in tokenizer.tokenize(texts, "query")]
    assert kept == [17, 18, 18, 18]  # [CLS], 2 of the prompt, at most 14 of the text, [SEP]
    assert found["truncated"] == 2 / 4


def test_many_truncated_texts_are_worth_a_warning():
    measured = {"train_queries": {"truncated": 0.051, "limit": 32}}
    measured |= {"collection_queries": {"truncated": 0.05, "limit": 32}}
    (line,) = warnings(measured)
    assert line.startswith("train queries: 5.1% are truncated to 32 tokens")


def test_statistics_by_hand():
    found = statistics(np.array([1, 2, 3, 4, 10]), limit=3)
    quantiles = {"p10": 1.4, "p50": 3, "p90": 7.6, "p99": 9.76}  # linear between neighbors
    expected = {"count": 5, "mean": 4, "max": 10, "limit": 3, "truncated": 2 / 5} | quantiles
    assert found == pytest.approx(expected)


def test_a_sample_is_evenly_spaced():
    assert list(spaced(range(10), 10, sample=100)) == list(range(10))
    assert list(spaced(range(10), 10, sample=4)) == [0, 3, 6, 9]
