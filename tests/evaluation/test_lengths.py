import numpy as np
import pytest

from dpr.encoders.tokens import Tokenizer
from dpr.evaluation.lengths import spaced, statistics, token_lengths


def test_lengths_count_every_token_and_truncate_nothing(make_encoder):
    encoder = make_encoder(passage_prefix="the ")
    tokenizer = Tokenizer(encoder.tokenizer.backend_tokenizer, encoder.spec)
    texts = ["heart", "", "lung " * 300]
    assert token_lengths(tokenizer, texts, "query").tolist() == [3, 2, 302]
    assert token_lengths(tokenizer, texts, "passage").tolist() == [4, 3, 303]


def test_statistics_by_hand():
    found = statistics(np.array([1, 2, 3, 4, 10]), limit=3)
    assert found["count"] == 5
    assert found["mean"] == 4
    assert found["p50"] == 3
    assert found["max"] == 10
    assert found["truncated"] == pytest.approx(2 / 5)
    assert found["limit"] == 3


def test_a_sample_is_evenly_spaced():
    assert list(spaced(range(10), 10, sample=100)) == list(range(10))
    assert list(spaced(range(10), 10, sample=4)) == [0, 3, 6, 9]
