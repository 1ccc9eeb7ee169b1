"""Vectors for a vector database, read by one (Qdrant's local mode)."""

import pyarrow.parquet
import pytest
from index_helpers import make_embeddings
from qdrant_client import QdrantClient, models

from dpr.base.errors import InputError
from dpr.embeddings import parquet
from dpr.indexes.exact_search import exact_search
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Passage


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "AT_ONCE", 128)  # several row groups
    embeddings = make_embeddings("cosine")
    beir.write_passages(tmp_path, (Passage(i, "Title", f"text of {i}") for i in embeddings.ids))
    parquet.write_parquet(embeddings, Corpus(tmp_path, ". "), tmp_path / "out/vectors.parquet")
    return embeddings, tmp_path / "out/vectors.parquet"


def test_a_vector_database_finds_what_exact_search_finds(written):
    embeddings, path = written
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=16, distance=models.Distance.COSINE)
    client.create_collection("passages", vectors_config=params)
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=200):
        rows = batch.to_pylist()
        points = [
            models.PointStruct(
                id=int(row["id"].removeprefix("d")), vector=row["vector"], payload=row
            )
            for row in rows
        ]
        client.upsert("passages", points)
    queries = make_embeddings("cosine", count=5, seed=1).vectors
    scores, exact = exact_search(embeddings, queries, 10)
    for query, expected, best in zip(queries, exact, scores, strict=True):
        found = client.query_points("passages", query.tolist(), limit=10).points
        assert [point.id for point in found] == expected.tolist()
        assert [point.score for point in found] == pytest.approx(best.tolist(), abs=1e-5)
        assert found[0].payload["text"] == f"Title. text of d{expected[0]}"


def test_other_passages_than_those_of_the_vectors_are_refused(written, tmp_path):
    embeddings, path = written
    before = path.read_bytes()
    for others in (embeddings.ids[::-1], embeddings.ids[:-1], [*embeddings.ids, "more"]):
        beir.write_passages(tmp_path, (Passage(i, "", "x") for i in others))
        with pytest.raises(InputError, match=r"corpus\.jsonl: not the passages of the vectors"):
            parquet.write_parquet(embeddings, Corpus(tmp_path, ". "), path)
        assert path.read_bytes() == before
