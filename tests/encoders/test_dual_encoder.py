import numpy as np
import pytest
import torch
from helpers import POOLINGS
from transformers import AutoModel, AutoTokenizer

TEXTS = ["heart", "the liver and the kidney " * 10, "a study of bone", "eye ear", "lung " * 90]


def weighted(states):
    """Muennighoff 2022 (SGPT): a token's weight is its position."""
    positions = torch.arange(1.0, len(states) + 1)[:, None]
    return (states * positions).sum(0) / positions.sum()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_equal_those_of_plain_transformers(make_encoder, tiny_model, pooling):
    """One text at a time, no padding, truncation by hand."""
    encoder = make_encoder(pooling=pooling, similarity="dot")
    model = AutoModel.from_pretrained(tiny_model).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    vectors = encoder.embed(encoder.tokenize(TEXTS, "passage"), "passage", 64, "fp32")
    for text, vector in zip(TEXTS, vectors, strict=True):
        ids = tokenizer(text)["input_ids"]
        ids = ids if len(ids) <= 32 else [*ids[:31], tokenizer.sep_token_id]
        with torch.no_grad():
            output = model(input_ids=torch.tensor([ids]))
        states = output.last_hidden_state[0]
        expected = {
            "cls": lambda s=states: s[0],
            "mean": lambda s=states: s.mean(0),
            "max": lambda s=states: s.max(0).values,
            "last": lambda s=states: s[-1],
            "weightedmean": lambda s=states: weighted(s),
            "pooler": lambda o=output: o.pooler_output[0],
        }[pooling]()
        np.testing.assert_allclose(vector, expected, atol=2e-6)


def test_the_roles_differ_only_if_untied(make_encoder):
    def both(encoder):
        tokens = encoder.tokenize(["heart"], "query")
        return [encoder.embed(tokens, role, 64, "fp32") for role in ("query", "passage")]

    query, passage = both(make_encoder(tied=True))
    np.testing.assert_array_equal(query, passage)
    query, passage = both(make_encoder(tied=False))
    assert np.abs(query - passage).max() > 1e-3


def test_cosine_vectors_have_norm_one_and_no_text_has_no_vector(make_encoder):
    encoder = make_encoder(similarity="cosine")
    vectors = encoder.embed(encoder.tokenize(TEXTS, "query"), "query", 64, "fp32")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert encoder.tokenize([], "query") == []
    assert encoder.embed([], "query", 64, "fp32").shape == (0, 32)
