import numpy as np
import pytest
import torch

from dpr.similarity import SIMILARITIES


def brute_force(name, queries, passages):
    """The textbook formulas, one pair at a time, in float64."""
    formulas = {
        "cosine": lambda q, p: q @ p / (np.linalg.norm(q) * np.linalg.norm(p)),
        "dot": lambda q, p: q @ p,
        "l2": lambda q, p: -np.sum((q - p) ** 2),
        "l1": lambda q, p: -np.sum(np.abs(q - p)),
    }
    return np.array([[formulas[name](q, p) for p in passages] for q in queries])


@pytest.mark.parametrize("name", SIMILARITIES)
def test_scores_equal_the_textbook_formula(name):
    rng = np.random.default_rng(0)
    queries, passages = rng.normal(size=(5, 16)), rng.normal(size=(9, 16)) * 3
    chosen = SIMILARITIES[name]
    scores = chosen.scores(
        chosen.vectors(torch.tensor(queries)), chosen.vectors(torch.tensor(passages))
    )
    np.testing.assert_allclose(scores, brute_force(name, queries, passages), rtol=1e-9)
