"""Write a system's index for pyserini. No stage: nothing here depends on it.

    python -m stages.export dense FOLDER

then, in Python: `FaissSearcher("FOLDER", query_encoder).search(query, k=10)`.
"""

import sys

from dpr.errors import InputError
from dpr.indexes.artifact import Index
from dpr.indexes.export import to_pyserini
from dpr.settings import load_settings
from stages import run


def main(*arguments: str) -> None:
    if len(arguments) != 2:
        raise InputError("give a system and a folder: python -m stages.export dense FOLDER")
    system, folder = arguments
    settings = load_settings("params.yaml")
    to_pyserini(Index.open(f"data/indexes/{system}"), folder, settings.search)


if __name__ == "__main__":
    run(main, *sys.argv[1:], record=False)
