"""Export the vectors of a system to a vector database or to pyserini.

Reads data/embeddings/SYSTEM and data/collection. For pyserini, it also reads data/indexes/SYSTEM
and `search` in params.yaml.

    python -m tools.export dense FILE.parquet    # id, vector, text: for a vector database
    python -m tools.export dense FOLDER          # the index, for pyserini's FaissSearcher

Then, in Python: `FaissSearcher("FOLDER", query_encoder).search(query, k=10)`.
"""

from pathlib import Path

from dpr.embeddings.artifact import Embeddings
from dpr.embeddings.parquet import write_parquet
from dpr.indexes.export import to_pyserini
from dpr.indexes.index import Index
from dpr.records.corpus import Corpus
from dpr.settings import load_settings
from stages.run import add_choice, one_line_errors, parser


def main(system: str, target: Path) -> None:
    settings = load_settings("params.yaml")
    embeddings = Embeddings.open(f"data/embeddings/{system}")
    if target.suffix == ".parquet":
        write_parquet(embeddings, Corpus(Path("data/collection"), settings.data.separator), target)
        print(f"{target}: the vectors of {system}, {len(embeddings.ids):,} passages")
        return
    # Not mapped, because FAISS writes the index again.
    index = Index.open(f"data/indexes/{system}", embeddings, mapped=False)
    to_pyserini(index, target, settings.search)
    print(f"{target}: the index of {system}, {len(embeddings.ids):,} passages")


if __name__ == "__main__":
    arguments = parser("tools.export", __doc__)
    add_choice(arguments, "system")
    help_of_target = "FILE.parquet, or a new folder"
    arguments.add_argument("target", type=Path, metavar="TARGET", help=help_of_target)
    chosen = arguments.parse_args()
    with one_line_errors("export"):
        main(chosen.system, chosen.target)
