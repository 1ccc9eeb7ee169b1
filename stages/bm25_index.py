"""bm25_index: index the passages with Lucene.

Reads data/collection/corpus.jsonl. Makes data/indexes/bm25.

    python -m stages.bm25_index
"""

from pathlib import Path

from dpr.bm25 import lucene
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from stages.run import run


def main() -> str:
    settings = load_settings("params.yaml")
    corpus = Corpus(Path("data/collection"), settings.data.separator)
    options, folder = settings.bm25, Path("data/indexes/bm25")
    limits = (options.threads, options.heap, options.rm3.use)
    indexed = lucene.build_index(corpus.texts(), folder, *limits)
    return f"{indexed:,} passages; {corpus.passage_count() - indexed:,} without a text are left out"


if __name__ == "__main__":
    run(main)
