"""The columns of users' tables: the names that are taken for each.

Names are compared without case; `-` and spaces are `_`. Of several names, the first is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dpr.base.errors import InputError

IDS_NEED_A_FOLDER = (
    "Ids in place of texts need a BEIR folder: the texts in corpus.jsonl and queries.jsonl, the "
    "ids in qrels/train.tsv"
)


@dataclass(frozen=True)
class Kind:
    """What a table has in its rows.

    Attributes:
        columns: the names of each field's column; docs/collections.md repeats them.
        required: fields that each row must have.
        many: fields that may have several columns, also numbered ones: negative_1, negative_2.
        by_position: the fields of a file without header. If each row ends with a number
            (`ends_with_number`), any first row that does not is a header.
        white_space: a row without tabs is separated by white space.
    """

    columns: dict[str, tuple[str, ...]]
    required: tuple[str, ...]
    by_position: tuple[tuple[str, ...], ...]
    many: tuple[str, ...] = ()
    ends_with_number: bool = False
    white_space: bool = False

    def field_of(self, name: str) -> str | None:
        """The field that a column is taken for."""
        plain = normal(name)
        for key, names in self.columns.items():
            if plain in names or (key in self.many and plain.rstrip("0123456789_") in names):
                return key
        return None

    def header(self, where: str, cells: list[str]) -> list[str] | None:
        """The names of the columns if this first row is a header."""
        if self.ends_with_number:
            if _is_number(cells[-1]) or not all(map(str.strip, cells)):
                return None
            if not all(any(self.field_of(c) == r for c in cells) for r in self.required):
                return self.positions(where, cells)
        elif not any(self.field_of(cell) for cell in cells):
            return None
        if len({normal(cell) for cell in cells}) != len(cells):
            raise InputError(f"{where}: the header has a name twice: {', '.join(cells)}")
        return cells

    def positions(self, where: str, cells: list[str]) -> list[str]:
        """The names of the columns of a file without a known header, from their number."""
        for fields in self.by_position:
            if len(fields) == len(cells):
                return [self.columns[key][0] for key in fields]
        raise InputError(f"{where}: {len(cells)} columns; {self.without_header}")

    @property
    def without_header(self) -> str:
        layouts = " or ".join(f"`{' TAB '.join(fields)}`" for fields in self.by_position)
        return f"a line must be {layouts}, or the first line must name the columns"


_DOCUMENT_IDS = ("corpus_id", "docid", "doc_id", "document_id", "passage_id", "pid")
_QUERY_IDS = ("query_id", "qid", "topic_id")
_GRADES = ("score", "grade", "relevance", "rel", "label")
PASSAGES = Kind(
    {
        "_id": ("_id", "id", *_DOCUMENT_IDS),
        "title": ("title",),
        "text": ("text", "passage", "contents", "content", "body", "document", "doc"),
    },
    required=("_id", "text"),
    by_position=(("_id", "text"),),
)
QUERIES = Kind(
    {
        "_id": ("_id", "id", *_QUERY_IDS),
        "text": ("text", "query", "query_text", "question"),
        "mixture_source": ("mixture_source",),
        "is_passage": ("is_passage",),
    },
    required=("_id", "text"),
    by_position=(("_id", "text"),),
)
QRELS = Kind(
    {
        "query-id": _QUERY_IDS,
        "corpus-id": _DOCUMENT_IDS,
        "score": _GRADES,
        "iteration": ("iteration", "iter", "q0"),
    },
    required=("query-id", "corpus-id"),
    by_position=(
        ("query-id", "corpus-id", "score"),
        ("query-id", "iteration", "corpus-id", "score"),
    ),
    ends_with_number=True,
    white_space=True,
)


def training_pairs(*fields: str) -> Kind:
    """Pairs, or triples, with texts.

    Args:
        fields: of a file without header: ("query", "positive") or ("query", "positive",
            "negative"); all are required.
    """
    return Kind(
        {
            "query": ("query", "anchor", "question", "query_text"),
            "positive": (
                *("passage", "positive", "positives", "pos", "positive_passages"),
                *("positive_ctxs", "answer", "document", "doc", "context", "text"),
            ),
            "negative": (
                *("negative", "negatives", "neg", "hard_negative", "hard_negatives"),
                *("negative_passages", "hard_negative_ctxs"),
            ),
            "title": ("title",),
            "label": ("label", "relevance", "grade"),
            "score": ("score",),
            "teacher": ("pos_scores", "neg_scores", "scores", "teacher_scores", "margin"),
        },
        required=fields,
        by_position=(fields,),
        many=("negative", "teacher"),
    )


def normal(name: str) -> str:
    """A column's name as it is compared."""
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def missing_column(where: str, kind: Kind, key: str, names: Sequence[str]) -> str:
    """The message for a table without a required column."""
    taken = ", ".join(kind.columns[key])
    message = f"{where}: no column for {key!r}; found: {', '.join(names) or '-'}; taken: {taken}"
    if key == "positive" and any(normal(name).endswith(("_id", "_ids")) for name in names):
        message += f". {IDS_NEED_A_FOLDER}"
    return message


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
