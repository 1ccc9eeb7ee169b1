"""Write the index of a system in the layout of pyserini's FaissSearcher.

Reads data/indexes/SYSTEM, data/embeddings/SYSTEM and `search` in params.yaml. Makes FOLDER.

    python -m tools.export dense FOLDER

Then, in Python: `FaissSearcher("FOLDER", query_encoder).search(query, k=10)`.
"""

from dpr.embeddings.artifact import Embeddings
from dpr.indexes.export import to_pyserini
from dpr.indexes.index import Index
from dpr.settings import load_settings
from stages.run import add_choice, parser, told_in_one_line


def main(system: str, folder: str) -> None:
    settings = load_settings("params.yaml")
    embeddings = Embeddings.open(f"data/embeddings/{system}")
    index = Index.open(f"data/indexes/{system}", embeddings, mapped=False)  # to be written again
    to_pyserini(index, folder, settings.search)
    print(f"{folder}: the index of {system}, {len(embeddings.ids):,} passages")


if __name__ == "__main__":
    arguments = parser("tools.export", __doc__)
    add_choice(arguments, "system")
    arguments.add_argument("folder", metavar="FOLDER", help="a new one, or an earlier export")
    chosen = arguments.parse_args()
    with told_in_one_line("export"):
        main(chosen.system, chosen.folder)
