"""BM25 by Lucene: an index of passages, and a run over it.

The Java classes are Anserini's, from the jar in pyserini. Importing pyserini takes seconds.
"""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow

from dpr.base.errors import InputError
from dpr.base.files import new_folder
from dpr.bm25.java import HEAP, last_error, start_java
from dpr.records import documents
from dpr.records.run import Run
from dpr.records.types import Query
from dpr.settings import Rm3Settings

INDEXER, SEARCHER = "io.anserini.index.SimpleIndexer", "io.anserini.search.SimpleSearcher"
BATCH = 10_000  # passages handed to Java at a time
HITS_AT_ONCE = 250_000  # each hit is an object in Java and one in Python
# The characters that Java's trim() removes. Anserini skips a text of these alone.
TRIMMED = "".join(map(chr, range(ord(" ") + 1)))
MOST_PASSAGES = 2**31 - 1  # in a Lucene index
MAX_QUERY_TERMS = 2**20  # Lucene's default is 1,024; a document used as a query has more


def build_index(
    texts: Iterable[tuple[str, str]],
    folder: Path,
    threads: int = 1,
    heap: float = HEAP,
    term_vectors: bool = False,
) -> int:
    """A Lucene index of (id, text), analyzed as in Anserini: Porter stemmer, stop words removed.

    (A different analysis would be set here and in `search`.) As in Anserini, an empty text is not
    indexed. A text of stop words alone is indexed, but does not count in BM25's statistics.
    Lucene writes random ids and the time into the files; runs over two builds are equal.

    Args:
        threads: threads of Lucene. With several, the order of equal passages varies.
        heap: GiB of Java; a quarter buffers passages before Lucene writes them.
        term_vectors: store the words of each text, from which RM3 takes its own.
    Returns:
        How many texts are in the index.
    """
    start_java(heap)
    from jnius import autoclass

    texts, count = (row for row in texts if row[1].strip(TRIMMED)), 0
    with new_folder(folder) as partial:
        # Absolute, since Java keeps the working directory in which it was started.
        options = ["-index", str(partial.resolve()), "-input", "", "-collection", "JsonCollection"]
        options += ["-memoryBuffer", str(max(16, round(heap * 256)))]  # MiB
        options += ["-storeDocvectors"] if term_vectors else []
        indexer = autoclass(INDEXER)([*options, "-threads", str(threads)])
        while batch := list(itertools.islice(texts, BATCH)):
            rows = ({"id": passage_id, "contents": text} for passage_id, text in batch)
            indexer.addRawDocuments([json.dumps(row) for row in rows])
            count += len(batch)
        indexer.close()
        _require_whole(partial, count)
        (partial / "write.lock").unlink()
    return count


def _require_whole(folder: Path, count: int) -> None:
    """Anserini logs Lucene's errors, such as a full disk, and goes on."""
    from jnius import autoclass

    try:
        indexed = autoclass(SEARCHER)(str(folder.resolve())).get_total_num_docs()
    except Exception as error:
        indexed = f"no index ({type(error).__name__})"
    if indexed != count:
        raise InputError(
            f"{folder}: {indexed} instead of {count:,} passages; check that the disk has room, and "
            f"run it again. Lucene logged: {last_error()}"
        )


def search(
    folder: Path,
    queries: list[Query],
    k1: float,
    b: float,
    top_k: int,
    threads: int,
    heap: float = HEAP,
    rm3: Rm3Settings | None = None,
) -> Run:
    """BM25 scores of the `top_k` best passages for each query; {} for a query without a match.

    Args:
        rm3: search a second time as `bm25.rm3` says; it needs an index with term vectors.
    Raises:
        InputError: for an index that is missing, truncated or damaged.
    """
    if not queries:
        return Run.of({})
    start_java(heap)
    from jnius import JavaException, autoclass

    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(MAX_QUERY_TERMS)
    try:
        searcher = autoclass(SEARCHER)(str(folder.resolve()))
    except JavaException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{folder}: not a whole Lucene index ({reason}); make it again") from None
    searcher.set_bm25(k1, b)
    if rm3 and rm3.use:
        infos = autoclass("org.apache.lucene.index.FieldInfos")
        fields = infos.getMergedFieldInfos(searcher.reader)
        if searcher.get_total_num_docs() and not fields.hasVectors():
            raise InputError(f"{folder}: no term vectors, which bm25.rm3.use needs; index again")
        searcher.set_rm3(rm3.terms, rm3.passages, rm3.weight)
    topics: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    names = []
    at_once = max(1, HITS_AT_ONCE // top_k)
    for start in range(0, len(queries), at_once):
        batch = queries[start : start + at_once]
        texts, numbers = (autoclass("java.util.ArrayList")() for _ in range(2))
        for number, query in enumerate(batch):
            texts.add(query.text)
            numbers.add(str(number))
        found = searcher.batch_search(texts, numbers, top_k, threads)
        hits_of = {entry.getKey(): entry.getValue() for entry in found.entrySet().toArray()}
        ranked = [hits_of[str(number)] for number in range(len(batch))]
        counts = [len(hits) for hits in ranked]
        topics.append(np.repeat(np.arange(start, start + len(batch)), counts))
        hits = list(itertools.chain.from_iterable(ranked))
        names.append(pyarrow.array([hit.docid for hit in hits], pyarrow.string()))
        scores.append(np.array([hit.score for hit in hits], np.float32))
    ids = pyarrow.chunked_array(names).dictionary_encode().combine_chunks()
    return Run.of_rows(
        [query.id for query in queries],
        np.concatenate(topics),
        ids.dictionary,
        ids.indices.to_numpy(),
        np.concatenate(scores),
    )


def search_documents(
    folder: Path,
    queries: list[Query],
    k1: float,
    b: float,
    top_k: int,
    threads: int,
    heap: float = HEAP,
    every: bool = False,
    rm3: Rm3Settings | None = None,
) -> Run:
    """Passages of the `top_k` best documents, see `documents.search_documents`."""

    def search_at(topics: list[int], depth: int) -> Run:
        return search(folder, [queries[t] for t in topics], k1, b, depth, threads, heap, rm3)

    query_ids = [query.id for query in queries]
    return documents.search_documents(search_at, query_ids, top_k, MOST_PASSAGES, every)
