import numpy as np
import pytest
from transformers import AutoTokenizer

from dpr.lengths import spaced, statistics, token_lengths


def test_lengths_count_every_token_and_cut_nothing(tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = ["heart", "", "lung " * 300]
    assert token_lengths(tokenizer, texts).tolist() == [3, 2, 302]


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
