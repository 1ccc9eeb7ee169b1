"""What a vector database loses against exact search: its run becomes a system of the comparison.

Reads data/embeddings/SYSTEM, data/encoders/SYSTEM, data/collection and params.yaml. It loads the
ids and vectors of `tools.export` into the engine, builds the engine's approximate index, searches
for the test topics one by one, and makes data/external_runs/SYSTEM_ENGINE.txt.

    python -m tools.serve_check dense lancedb       # LanceDB, or milvus: both in this process
    python -m tools.serve_check dense pgvector --at postgresql://USER@HOST/DATABASE
    python -m tools.serve_check dense lancedb --set index=IvfPq --top-k 10  # as deep as you serve
    python -m tools.serve_check dense flat          # our own exact search, or hnsw: our own index

The engine's own defaults hold, unless `--set` changes one. recall@10 is the share of the ten
passages of exact search that the engine has among its first ten. A different passage with an exact
score as good as the tenth (to 1e-6) counts too, so a tie is no loss.
"""

import argparse
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow
import pyarrow.parquet
import torch

from dpr import measures
from dpr.base import runtime
from dpr.base.errors import InputError, disk_error_message
from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.parquet import write_parquet
from dpr.embeddings.precision import open_for_queries
from dpr.evaluation.markdown_tables import table
from dpr.indexes.build import build
from dpr.indexes.exact_search import Resources, exact_search
from dpr.indexes.index import Index
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.documents import as_documents, search_documents
from dpr.records.run import Run, depth_in_words, search_depth, without_own_passages
from dpr.runs.trec import write_run
from dpr.settings import Settings, load_settings
from dpr.similarity import SIMILARITIES
from stages.run import SCRATCH, add_choice, one_line_errors, parser
from tools.engines import CLIENTS, ENGINES, LANCE_ERRORS, Batch, Engine, Found

OURS = ("flat", "hnsw")  # kinds of index
DEPTH = 10  # of the recall
TIE = 1e-6
AT_ONCE = 500  # rows per request to an engine


class Ours:
    """This repository's index, with `index` and `search` of params.yaml."""

    def __init__(self, kind: str, embeddings: Embeddings, settings: Settings, folder: Path):
        self.embeddings, self.folder, self.search_options = embeddings, folder, settings.search
        self.options, self.seed = settings.index.model_copy(update={"kind": kind}), settings.seed

    def load(self, batches: Iterable[Batch]) -> None:
        build(self.embeddings, self.options, self.seed, self.folder / "index")
        resources = Resources(self.search_options.memory)
        self.index = Index.open(self.folder / "index", self.embeddings, resources)

    def count(self) -> int:
        return int(self.index.manifest["count"])

    def search(self, vector: np.ndarray, depth: int) -> Found:
        found = self.index.run(["q"], vector[None], depth, self.search_options)["q"]
        return list(found), list(found.values())

    def described(self) -> str:
        graph = f", hnsw_m {self.options.hnsw_m}, ef_construction {self.options.ef_construction}"
        return f"this repository: {self.options.kind}" + graph * (self.options.kind == "hnsw")

    def close(self) -> None:
        pass


@contextmanager
def opened(
    name: str, embeddings: Embeddings, settings: Settings, folder: Path, given: argparse.Namespace
) -> Iterator[Engine]:
    """The engine `name`, emptied after the block.

    Raises:
        InputError: for a similarity or setting that it lacks, a missing client, a server that does
            not answer, and all that the engine itself refuses.
    """
    if name in OURS:
        if given.at or given.set:
            raise InputError(f"{name}: params.yaml has its settings; leave --at and --set out")
        yield Ours(name, embeddings, settings, folder)
        return
    kind, similarity = ENGINES[name], embeddings.manifest["similarity"]
    if similarity not in kind.METRICS:
        raise InputError(f"{name}: it searches by {', '.join(kind.METRICS)}, not by {similarity}")
    chosen = dict(kind.SETTINGS)
    for change in given.set:
        key, _, value = change.partition("=")
        if key not in chosen or not re.fullmatch(r"\w+", value):
            raise InputError(f"--set {change}: give NAME=VALUE; {name} has {', '.join(chosen)}")
        chosen[key] = int(value) if value.isdecimal() else value
    try:
        engine = kind(kind.METRICS[similarity], embeddings.dimension, given.at, folder, chosen)
        try:
            yield engine
        finally:
            engine.close()
    except ModuleNotFoundError as error:
        if error.name not in CLIENTS:
            raise
        cure = "python tools/install.py requirements-engines.txt"
        raise InputError(f"{name}: {error.name} is not installed; {cure}") from None
    except Exception as error:
        disk = disk_error_message(error) is not None
        builtin = name == "lancedb" and isinstance(error, LANCE_ERRORS) and not disk
        if not builtin and type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name}: {reason}; {kind.HINT}") from error


class Client:
    """Asks an engine one query at a time, and keeps the time and the first passages."""

    def __init__(self, engine: Engine, query_ids: list[str], vectors: np.ndarray):
        self.engine, self.query_ids, self.vectors = engine, query_ids, vectors
        self.first: dict[int, list[str]] = {}
        self.seconds, self.asked = 0.0, 0

    def search(self, topics: list[int], depth: int) -> Run:
        names, scores = [pyarrow.array([], pyarrow.string())], [np.empty(0)]
        for topic in topics:
            started = time.perf_counter()
            ids, found = self.engine.search(self.vectors[topic], depth)
            self.seconds += time.perf_counter() - started
            self.asked += 1
            self.first.setdefault(topic, ids[:DEPTH])
            names.append(pyarrow.array(ids, pyarrow.string()))
            scores.append(np.array(found))
        passages = pyarrow.chunked_array(names).dictionary_encode().combine_chunks()
        of_topic = np.repeat(np.arange(len(topics)), [len(ids) for ids in names[1:]])
        rows = (of_topic, passages.dictionary, passages.indices.to_numpy(), np.concatenate(scores))
        run = Run.of_rows([self.query_ids[topic] for topic in topics], *rows)
        if run.has_duplicates():
            raise InputError("the engine returned a passage twice for a topic")
        return run


def batches(path: Path) -> Iterator[Batch]:
    """The ids and vectors of a file of `write_parquet`."""
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(AT_ONCE, columns=["id", "vector"]):
            vectors = batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)
            yield batch["id"].to_pylist(), vectors


def recall(
    found: list[list[str]], vectors: np.ndarray, embeddings: Embeddings, resources: Resources
) -> float:
    """The mean share of the exact top `DEPTH` among the first passages found for each vector."""
    similarity, wanted = SIMILARITIES[embeddings.manifest["similarity"]], set().union(*found)
    row_of = {name: row for row, name in enumerate(embeddings.ids) if name in wanted}
    if unknown := wanted - row_of.keys():
        raise InputError(f"the engine returned an id that it was not given: {min(unknown)!r}")
    shares = []
    exact = exact_search(embeddings, vectors, DEPTH, resources=resources)[1]
    for vector, best, ids in zip(vectors, exact, found, strict=True):
        passages = embeddings.take([*best.tolist(), *(row_of[name] for name in ids)])
        both = torch.from_numpy(vector[None]).double(), torch.from_numpy(passages).double()
        scores = similarity.scores(*both)[0].numpy()
        least = scores[: len(best)].min()
        as_good = scores[len(best) :] >= least - TIE * max(1, abs(least))
        shares.append(as_good.sum() / len(best))
    return float(np.mean(shares))


def main(system: str, name: str, given: argparse.Namespace) -> None:
    settings = load_settings("params.yaml")
    if settings.search.feedback.method:
        raise InputError(
            "params.yaml: search.feedback: engines search without it, so their runs are not "
            "comparable with those here; set search.feedback.method to null"
        )
    runtime.set_up(settings.threads)
    qrels, queries = beir.read_test_qrels("data/collection"), beir.read_queries("data/collection")
    query_ids, corpus = list(qrels), Corpus(Path("data/collection"), settings.data.separator)
    embeddings = Embeddings.open(f"data/embeddings/{system}")
    source, options = Path("data/encoders") / system, settings.encode
    embedder = open_for_queries(embeddings, source, options, runtime.device(), SCRATCH)
    vectors = embedder.embed_queries([queries[query_id] for query_id in query_ids])
    top_k = settings.search.top_k if given.top_k is None else given.top_k
    count = len(embeddings.ids)
    depth = search_depth(top_k, queries)
    if top_k < 1:
        raise InputError(f"--top-k {top_k}: give 1 or more")

    SCRATCH.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=SCRATCH) as folder:
        exported = Path(folder) / "vectors.parquet"
        write_parquet(embeddings, corpus, exported)
        with opened(name, embeddings, settings, Path(folder), given) as engine:
            began = time.perf_counter()
            engine.load(batches(exported))
            loading = time.perf_counter() - began
            if (loaded := engine.count()) != count:
                raise InputError(f"{name}: it has {loaded:,} of {count:,} passages after loading")
            client = Client(engine, query_ids, vectors)
            if settings.data.cut:
                found = search_documents(client.search, query_ids, depth, count)
                found = as_documents(found, depth)
            else:
                found = client.search([*range(len(query_ids))], depth)
            described = engine.described()
    run = without_own_passages(found, top_k, queries)
    first = [client.first[topic] for topic in range(len(query_ids))]
    recalled = recall(first, vectors, embeddings, Resources(settings.search.memory))
    path = f"data/external_runs/{system}_{name}.txt"
    write_run(path, run, tag=f"{system}_{name}")

    unit = "documents" if settings.data.cut else "passages"
    print(f"{path}: {depth_in_words([run], top_k, unit)}; loaded in {loading:.0f} s")
    header = ["engine", "version and index", measures.PRIMARY_MEASURE, f"recall@{DEPTH}"]
    ndcg, rate = measures.mean_primary_measure(qrels, run), client.asked / client.seconds
    row = [name, described, f"{ndcg:.4f}", f"{recalled:.4f}", f"{rate:,.0f}"]
    print(table([*header, "queries a second"], [row]))
    print("next: dvc repro compare, then python -m tools.report")


if __name__ == "__main__":
    arguments = parser("tools.serve_check", __doc__)
    add_choice(arguments, "system")
    known = [*ENGINES, *OURS]
    arguments.add_argument("engine", choices=known, metavar="ENGINE", help=", ".join(known))
    arguments.add_argument("--at", metavar="ADDRESS", help="address of a server")
    arguments.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    arguments.add_argument("--top-k", type=int, metavar="K", help="in place of search.top_k")
    chosen = arguments.parse_args()
    with one_line_errors("serve_check"):
        main(chosen.system, chosen.engine, chosen)
