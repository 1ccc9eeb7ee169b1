"""bm25_index: the passages as a Lucene index."""

from pathlib import Path

from dpr import lucene
from dpr.collections import beir
from dpr.settings import load_settings
from stages import run


def main() -> None:
    settings = load_settings("params.yaml")
    passages = beir.read_corpus("data/collection")
    lucene.build_index(passages, settings.data.separator, Path("data/indexes/bm25"))


if __name__ == "__main__":
    run(main)
