"""Vector databases, each loaded and searched by its own client, for `tools.serve_check`.

METRICS has an engine's word for each similarity, SETTINGS the defaults of `--set` (None: the
engine's own), HINT what it needs to run. Each keeps ids as strings. Clients are imported when their
engine is chosen. A table has a new name, and is removed at the end.
"""

import json
import time
import uuid
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow

Batch = tuple[list[str], np.ndarray]  # ids, and their (n, D) float32 vectors
Found = tuple[list[str], list[float]]  # ids and scores, best first; higher is better
CLIENTS = ("psycopg", "lancedb", "pymilvus", "qdrant_client")
LANCE_ERRORS = (OSError, RuntimeError)  # it has none of its own


class Engine(Protocol):
    def load(self, batches: Iterable[Batch]) -> None: ...  # and build the index
    def count(self) -> int: ...
    def search(self, vector: np.ndarray, depth: int) -> Found: ...
    def described(self) -> str: ...  # after a search: version and index
    def close(self) -> None: ...


def given(settings: dict[str, Any], *names: str) -> dict[str, Any]:
    """The settings of these names (none: all) that are not None."""
    return {n: settings[n] for n in names or settings if settings[n] is not None}


def in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in given(settings).items())


class PgVector:
    METRICS: ClassVar = {
        **{"cosine": ("cosine", "<=>"), "dot": ("ip", "<#>")},
        **{"l2": ("l2", "<->"), "l1": ("l1", "<+>")},
    }
    SETTINGS: ClassVar = {"m": 16, "ef_construction": 64, "ef_search": 40, "iterative_scan": "off"}
    HINT = (
        "it needs a server (apt install postgresql postgresql-NN-pgvector) whose address is in "
        "--at postgresql://USER@HOST/DATABASE, or in PGHOST, PGUSER and PGDATABASE"
    )

    def __init__(self, metric: Any, dimension: int, address: str | None, folder: Path, chosen: Any):
        import psycopg

        (self.ops, self.operator), self.chosen = metric, chosen
        self.table = f"serve_check_{uuid.uuid4().hex}"
        self.client = psycopg.connect(address or "", autocommit=True, client_encoding="utf8")
        self.client.execute("CREATE EXTENSION IF NOT EXISTS vector")
        columns = f"id text PRIMARY KEY, vector vector({dimension})"
        self.client.execute(f"CREATE TABLE {self.table} ({columns})")

    def load(self, batches: Iterable[Batch]) -> None:
        with self.client.cursor().copy(f"COPY {self.table} FROM STDIN") as copy:
            for ids, vectors in batches:
                for row in zip(ids, map(json.dumps, vectors.tolist()), strict=True):
                    copy.write_row(row)
        built = ", ".join(f"{name} = {self.chosen[name]}" for name in ("m", "ef_construction"))
        by = f"USING hnsw (vector vector_{self.ops}_ops) WITH ({built})"
        self.client.execute(f"CREATE INDEX ON {self.table} {by}")
        self.client.execute(f"VACUUM ANALYZE {self.table}")
        self.client.execute(f"SET hnsw.ef_search = {self.chosen['ef_search']}")
        if self.chosen["iterative_scan"] != "off":  # since pgvector 0.8
            self.client.execute(f"SET hnsw.iterative_scan = {self.chosen['iterative_scan']}")

    def count(self) -> int:
        return int(self._first(f"SELECT count(*) FROM {self.table}"))

    def search(self, vector: np.ndarray, depth: int) -> Found:
        sql = f"SELECT id, vector {self.operator} %s::vector AS distance FROM {self.table}"
        self.last = f"{sql} ORDER BY distance LIMIT {depth}", [json.dumps(vector.tolist())]
        rows = self.client.execute(*self.last).fetchall()
        return [row[0] for row in rows], [-row[1] for row in rows]

    def described(self) -> str:
        server = self._first("SHOW server_version").split()[0]
        extension = self._first("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        sql, asked = self.last
        plan = str(self.client.execute(f"EXPLAIN {sql}", asked).fetchall())
        index = "HNSW" if "Index Scan" in plan else "exact, since the planner left out HNSW"
        return f"PostgreSQL {server}, pgvector {extension}: {index}, {in_words(self.chosen)}"

    def close(self) -> None:
        if not self.client.broken:
            self.client.execute(f"DROP TABLE {self.table}")
        self.client.close()

    def _first(self, sql: str) -> Any:
        return self.client.execute(sql).fetchone()[0]


class LanceDb:
    METRICS: ClassVar = {"cosine": "cosine", "dot": "dot", "l2": "l2"}
    BUILD = ("m", "ef_construction", "num_partitions", "num_sub_vectors")
    SEARCH = ("ef", "nprobes", "refine_factor")
    SETTINGS: ClassVar = {"index": "HnswSq", **dict.fromkeys(BUILD + SEARCH)}
    HINT = "it runs in this process, without --at; index is HnswSq, HnswPq, IvfPq or IvfFlat"

    def __init__(self, metric: Any, dimension: int, address: str | None, folder: Path, chosen: Any):
        import lancedb
        from lancedb import index

        if address:
            raise RuntimeError("it has no server; leave --at out")
        self.metric, self.dimension, self.chosen = metric, dimension, chosen
        self.client = lancedb.connect(folder / "lancedb")
        try:
            kind = getattr(index, chosen["index"])
            self.config = kind(distance_type=metric, **given(chosen, *self.BUILD))
        except (AttributeError, TypeError) as error:
            raise RuntimeError(error) from None

    def load(self, batches: Iterable[Batch]) -> None:
        vector = pyarrow.list_(pyarrow.float32(), self.dimension)
        schema = pyarrow.schema({"id": pyarrow.string(), "vector": vector})
        lists = pyarrow.FixedSizeListArray.from_arrays
        rows = (
            pyarrow.record_batch([ids, lists(vectors.ravel(), self.dimension)], schema=schema)
            for ids, vectors in batches
        )
        self.table = self.client.create_table("passages", rows, schema)
        self.table.create_index("vector", config=self.config)

    def count(self) -> int:
        return int(self.table.count_rows())

    def search(self, vector: np.ndarray, depth: int) -> Found:
        query = self.table.search(vector).distance_type(self.metric).limit(depth)
        for name, value in given(self.chosen, *self.SEARCH).items():
            query = getattr(query, name)(value)
        rows = query.select(["id", "_distance"]).to_arrow()
        return rows["id"].to_pylist(), (-rows["_distance"].to_numpy()).tolist()

    def described(self) -> str:
        built = {name: getattr(self.config, name, None) for name in self.BUILD}
        return f"LanceDB {version('lancedb')}: {in_words(self.chosen | given(built))}"

    def close(self) -> None:
        """Its files are in the folder alone."""


class Milvus:
    METRICS: ClassVar = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}
    SETTINGS: ClassVar = {"M": 16, "efConstruction": 200, "ef": None}
    HINT = "without --at, Milvus Lite runs on this machine; --at http://HOST:19530 is a server"

    def __init__(self, metric: Any, dimension: int, address: str | None, folder: Path, chosen: Any):
        from pymilvus import DataType, MilvusClient

        self.metric, self.chosen, self.table = metric, chosen, f"serve_check_{uuid.uuid4().hex}"
        self.client = MilvusClient(address or str(folder / "milvus.db"))
        schema = self.client.create_schema()
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=65_535)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
        self.client.create_collection(self.table, schema=schema)

    def load(self, batches: Iterable[Batch]) -> None:
        for ids, vectors in batches:
            rows = [{"id": i, "vector": v} for i, v in zip(ids, vectors, strict=True)]
            self.client.insert(self.table, rows)
        self.client.flush(self.table)
        built, index = given(self.chosen, "M", "efConstruction"), self.client.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type=self.metric, params=built)
        self.client.create_index(self.table, index)
        self.client.load_collection(self.table)

    def count(self) -> int:
        counted = self.client.query(self.table, filter="", output_fields=["count(*)"])
        return int(counted[0]["count(*)"])

    def search(self, vector: np.ndarray, depth: int) -> Found:
        options: Any = {"limit": depth, "search_params": {"params": given(self.chosen, "ef")}}
        (hits,) = self.client.search(self.table, [vector], output_fields=["id"], **options)
        sign = -1 if self.metric == "L2" else 1  # its squared distance
        return [hit["id"] for hit in hits], [sign * hit["distance"] for hit in hits]

    def described(self) -> str:
        client, server = version("pymilvus"), self.client.get_server_version()
        return f"Milvus {server}, pymilvus {client}: HNSW, {in_words(self.chosen)}"

    def close(self) -> None:
        self.client.drop_collection(self.table)
        self.client.close()


class Qdrant:
    METRICS: ClassVar = {"cosine": "COSINE", "dot": "DOT", "l2": "EUCLID", "l1": "MANHATTAN"}
    SETTINGS: ClassVar = {"m": 16, "ef_construct": 100, "hnsw_ef": None}
    HINT = "without --at, its client searches by itself; --at http://HOST:6333 is a server"

    def __init__(self, metric: Any, dimension: int, address: str | None, folder: Path, chosen: Any):
        from qdrant_client import QdrantClient, models

        self.metric, self.chosen, self.models = metric, chosen, models
        self.is_server, self.table = bool(address), f"serve_check_{uuid.uuid4().hex}"
        place: Any = {"url": address} if address else {"location": ":memory:"}
        self.client: Any = QdrantClient(**place, check_compatibility=False)
        vectors = models.VectorParams(size=dimension, distance=models.Distance[metric])
        graph = models.HnswConfigDiff(**given(chosen, "m", "ef_construct"))
        self.client.create_collection(self.table, vectors_config=vectors, hnsw_config=graph)

    def load(self, batches: Iterable[Batch]) -> None:
        start = 0
        for ids, vectors in batches:
            rows: Any = list(range(start, start := start + len(ids)))  # its ids are numbers
            payloads: Any = [{"id": i} for i in ids]
            named = self.models.Batch(ids=rows, vectors=vectors.tolist(), payloads=payloads)
            self.client.upsert(self.table, named, wait=True)
        while self._state().status == self.models.CollectionStatus.YELLOW:  # it is indexing
            time.sleep(0.5)

    def count(self) -> int:
        return int(self.client.count(self.table, exact=True).count)

    def search(self, vector: np.ndarray, depth: int) -> Found:
        params = self.models.SearchParams(**given(self.chosen, "hnsw_ef"))
        options = {"limit": depth, "search_params": params, "with_payload": ["id"]}
        points = self.client.query_points(self.table, vector.tolist(), **options).points
        sign = -1 if self.metric in ("EUCLID", "MANHATTAN") else 1  # distances
        return [point.payload["id"] for point in points], [sign * point.score for point in points]

    def described(self) -> str:
        if not self.is_server:
            client = version("qdrant-client")
            return f"qdrant-client {client}: no server, so it searches exactly, without an index"
        server, indexed = self.client.info().version, self._state().indexed_vectors_count or 0
        return f"Qdrant {server}: HNSW with {indexed:,} vectors, {in_words(self.chosen)}"

    def close(self) -> None:
        self.client.delete_collection(self.table)
        self.client.close()

    def _state(self) -> Any:
        return self.client.get_collection(self.table)


ENGINES: dict[str, Any] = {
    **{"pgvector": PgVector, "lancedb": LanceDb},
    **{"milvus": Milvus, "qdrant": Qdrant},
}
