import numpy as np
import pytest

from dpr.evaluation.lengths import CURES, spaced, statistics, token_lengths, truncated_texts


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


@pytest.mark.parametrize(
    ("cut", "said", "unsaid"),
    [
        ({}, [], []),
        (
            {"collection_passages": 0.425, "train_passages": 0.0501},
            [
                *["42.5% of the collection passages at 32 tokens", "5.0% of the train passages"],
                *["data.passages.words", "model.passage_max_length"],
            ],
            ["queries", "query_max_length"],
        ),
        (
            {"train_queries": 0.1},
            ["10.0% of the train queries at 32", "model.query_max_length"],
            ["passages"],
        ),
    ],
)
def test_more_than_a_twentieth_of_truncated_texts_is_said_in_one_line(cut, said, unsaid):
    kinds = [f"{where}_{role}" for where in ("collection", "train") for role in CURES]
    line = truncated_texts(
        {kind: {"truncated": cut.get(kind, 0.05), "limit": 32} for kind in kinds}
    )
    assert (line is None) == (not cut)
    assert all(words in line for words in said)
    assert not any(words in line for words in unsaid)


def test_statistics_by_hand():
    found = statistics(np.array([1, 2, 3, 4, 10]), limit=3)
    quantiles = {"p10": 1.4, "p50": 3, "p90": 7.6, "p99": 9.76}  # linear between neighbors
    expected = {"count": 5, "mean": 4, "max": 10, "limit": 3, "truncated": 2 / 5} | quantiles
    assert found == pytest.approx(expected)


def test_a_sample_is_evenly_spaced():
    assert list(spaced(range(10), 10, sample=100)) == list(range(10))
    assert list(spaced(range(10), 10, sample=4)) == [0, 3, 6, 9]
