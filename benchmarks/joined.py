"""Join passages to long documents with known answers: how much does truncation cost?

Reads data/collection. Writes a BEIR folder. Each document is N passages in their order, with the id
of the first. It is relevant if one of them is.

    dvc exp run -S data.collection=medline-2021 prepare
    python -m benchmarks.joined 10 FOLDER
    dvc exp run -S data.collection=beir:FOLDER -S train.max_steps=0
    dvc exp run -S data.collection=beir:FOLDER -S train.max_steps=0 -S data.passages.words=120
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

from dpr.base.files import new_folder
from dpr.records import beir
from dpr.records.types import Judgment, Passage
from stages.run import one_line_errors, parser

COLLECTION = Path("data/collection")


def main(size: int, target: Path) -> None:
    document_of: dict[str, str] = {}

    def documents() -> Iterator[Passage]:
        passages = beir.read_passages(COLLECTION)
        while group := list(itertools.islice(passages, size)):
            document_of.update((passage.id, group[0].id) for passage in group)
            yield Passage(group[0].id, "", " ".join(f"{p.title} {p.text}" for p in group))

    with new_folder(target) as folder:
        beir.write_passages(folder, documents())
        beir.write_queries(folder, beir.read_queries(COLLECTION).values())
        for split in ("valid", "test"):
            grades: dict[tuple[str, str], int] = {}
            for query_id, passage_id, grade in beir.stream_judgments(COLLECTION, split):
                key = query_id, document_of[passage_id]
                grades[key] = max(grade, grades.get(key, grade))
            beir.write_qrels(folder, split, (Judgment(*key, g) for key, g in grades.items()))
    print(f"{target}: {len(set(document_of.values())):,} documents of {size} passages")


if __name__ == "__main__":
    arguments = parser("benchmarks.joined", __doc__)
    arguments.add_argument("size", type=int, metavar="N")
    arguments.add_argument("target", type=Path, metavar="FOLDER", help="a new folder")
    chosen = arguments.parse_args()
    with one_line_errors("joined"):
        main(chosen.size, chosen.target)
