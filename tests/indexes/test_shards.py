"""What of FAISS can be filled in parts."""

import faiss
import numpy as np
import pytest

from dpr.indexes.wrappers import can_be_merged


@pytest.mark.parametrize(
    "factory",
    ["Flat", "IVF4,Flat", "PCA8,IVF4,SQ8", "IVF4,PQ4x4", "IVF4,SQ8,RFlat", "HNSW8", "LSH"],
)
def test_what_can_be_merged_is_what_faiss_merges(factory):
    """(FAISS merges flat ones too, which are never filled in parts here.)"""
    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    whole = faiss.index_factory(16, factory)
    whole.train(vectors)
    parts = [faiss.clone_index(whole) for _ in range(2)]
    assert can_be_merged(parts[0]) == factory.startswith(("IVF4,F", "IVF4,P", "PCA8"))
    whole.add(vectors)
    for part, some in zip(parts, np.split(vectors, 2), strict=True):
        part.add(some)
    if can_be_merged(parts[0]):
        parts[0].merge_from(parts[1], parts[0].ntotal)
        found, expected = parts[0].search(vectors[:9], 5), whole.search(vectors[:9], 5)
        np.testing.assert_array_equal(found[1], expected[1])
