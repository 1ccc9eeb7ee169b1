"""Margins of mined negatives, beside sentence-transformers' mine_hard_negatives."""

import pytest
from datasets import Dataset
from helpers import folder_of_sentence_transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from dpr.mining.mine import candidates
from dpr.settings import MineRanker

PAIRS = {
    f"about the {word}": f"{word} study {i}" for i, word in enumerate(["heart", "lung", "eye"])
}
CORPUS = [*PAIRS.values(), *(f"{w} {v} of it" for w in ("bone", "skin", "ear") for v in "abcdefgh")]


def theirs(model, **margins):
    """{query: the texts of all its negatives}."""
    mined = mine_hard_negatives(
        Dataset.from_dict({"query": list(PAIRS), "answer": list(PAIRS.values())}),
        model,
        corpus=CORPUS,
        range_max=len(CORPUS),
        num_negatives=len(CORPUS),
        output_format="labeled-pair",
        verbose=False,
        **margins,
    )
    found = {query: set() for query in PAIRS}
    for row in mined:
        if row["label"] == 0:
            found[row["query"]].add(row["answer"])
    return found


def ours(model, margin=None, relative_margin=None):
    margins = {"margin": margin, "relative_margin": relative_margin}
    source = MineRanker(use=True, first_rank=1, last_rank=len(CORPUS), **margins)
    vectors = model.encode_document(CORPUS, normalize_embeddings=True)
    queries = model.encode_query(list(PAIRS), normalize_embeddings=True)
    found = {}
    for (query, own), row in zip(PAIRS.items(), model.similarity(queries, vectors), strict=True):
        scores = dict(zip(CORPUS, row.tolist(), strict=True))
        found[query] = set(candidates(scores, own, source)) - {own}
    return found


@pytest.fixture(scope="module")
def model_of(tiny_model, tmp_path_factory):
    """model_of(similarity) -> the tiny model; euclidean scores are all below 0."""
    folder = tmp_path_factory.mktemp("st") / "model"
    folder_of_sentence_transformers(tiny_model, folder, "mean", True)

    def make(similarity):
        return SentenceTransformer(str(folder), device="cpu", similarity_fn_name=similarity)

    return make


@pytest.mark.parametrize("similarity", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("name", "margins"),
    [
        ("absolute_margin", (0.0, 0.01, 0.05, 0.5)),
        ("relative_margin", (0.0, 0.01, 0.05, 0.5)),
    ],
)
def test_margins_are_those_of_sentence_transformers(model_of, similarity, name, margins):
    model, sizes = model_of(similarity), []
    for margin in margins:
        expected = theirs(model, **{name: margin})
        key = "margin" if name == "absolute_margin" else name
        assert ours(model, **{key: margin}) == expected
        sizes.append(sum(map(len, expected.values())))
    assert len(set(sizes)) > 1  # the margin matters


def test_two_margins_at_once(model_of):
    model = model_of("cosine")
    expected = theirs(model, absolute_margin=0.03, relative_margin=0.01)
    assert ours(model, 0.03, 0.01) == expected == theirs(model, absolute_margin=0.03)
