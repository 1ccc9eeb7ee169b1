"""The columns of users' tables: the names that are taken for each.

Names are compared without case; `-` and spaces are `_`. Of several names, the first is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dpr.base.errors import InputError

LISTED = 10  # names of columns in an error
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
        by_position: the fields of a file without header.
        ends_with_number: each row ends with a number, so that a first row that does not is a
            header, even if none of its names is known.
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
        """The names of the columns if this first row is a header.

        They differ from its cells where a table that ends with a number has a name for it that is
        not known, or three such names, which are taken in the usual order.
        """
        known = [self.field_of(cell) for cell in cells]
        if self.ends_with_number and _is_number(cells[-1]):
            return None
        if not any(known):
            return self._unknown_header(where, cells) if self.ends_with_number else None
        if sum(not cell.strip() for cell in cells) > 1:
            raise InputError(f"{where}: columns without a name in the header; remove them")
        if len({normal(cell) for cell in cells}) != len(cells):
            raise InputError(f"{where}: the header has a name twice: {', '.join(cells)}")
        return self._with_number(where, cells, known) if self.ends_with_number else cells

    def _with_number(self, where: str, cells: list[str], known: Sequence[str | None]) -> list[str]:
        """The names of a header; a last one that alone is unknown is the number's."""
        for key in self.required:
            if key not in known:
                raise InputError(missing_column(where, self, key, cells) + separators(cells))
        *others, last = known
        number = self.by_position[0][-1]
        if cells[-1].strip() and last is None and all(others) and number not in others:
            return [*cells[:-1], self.columns[number][0]]
        return cells

    def _unknown_header(self, where: str, cells: list[str]) -> list[str] | None:
        """A row of data has an id with a digit in it; a header has none."""
        if not all(map(str.strip, cells)):
            return None
        if len(cells) != 3 or any(letter.isdigit() for cell in cells for letter in cell):
            hint = f"no known header{separators(cells)}; {self.without_header}"
            raise InputError(f"{where}: {listed(cells)}: {hint}")
        return self.positions(where, cells)

    def positions(self, where: str, cells: list[str]) -> list[str]:
        """The names of the columns of a file without a known header, from their number."""
        for fields in self.by_position:
            if len(fields) == len(cells):
                return [self.columns[key][0] for key in fields]
        hint = separators(cells)
        raise InputError(f"{where}: {len(cells)} columns{hint}; {self.without_header}")

    def settled(self, where: str, found: dict[str, list[str]]) -> dict[str, list[str]]:
        """What is taken of a table's known columns, {field: columns}; InputError if unclear."""
        return found

    @property
    def without_header(self) -> str:
        layouts = " or ".join(f"`{' TAB '.join(fields)}`" for fields in self.by_position)
        return f"a line must be {layouts}, or the first line must name the columns"


DOCUMENT_IDS = (
    *("corpus_id", "docid", "doc_id", "document_id", "passage_id", "pid", "docno", "did"),
)
_QUERY_IDS = ("query_id", "qid", "topic_id", "question_id")
_GRADES = ("score", "grade", "relevance", "rel", "label", "judgment", "judgement")
PASSAGES = Kind(
    {
        "_id": ("_id", "id", *DOCUMENT_IDS),
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
    },
    required=("_id", "text"),
    by_position=(("_id", "text"),),
)
QRELS = Kind(
    {
        "query-id": (*_QUERY_IDS, "query", "topic"),
        "corpus-id": (*DOCUMENT_IDS, "document", "doc", "passage"),
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


class Pairs(Kind):
    """Training data: texts, whose columns have less certain names than ids."""

    def settled(self, where: str, found: dict[str, list[str]]) -> dict[str, list[str]]:
        positive = found["positive"][0]
        unclear = [name for name in found["positive"] if normal(name) in _UNCLEAR]
        if normal(positive) in _UNCLEAR and len(unclear) > 1:
            raise InputError(
                f"{where}: any of {', '.join(map(repr, unclear))} may be the positive; rename the "
                "right one to 'positive', or remove the others"
            )
        if normal(positive) == "answer":  # the title may be that of the question
            return {key: names for key, names in found.items() if key != "title"}
        return found


_UNCLEAR = ("answer", "document", "doc", "context", "text")


def training_pairs(*fields: str) -> Kind:
    """Pairs, or triples, with texts.

    Args:
        fields: of a file without header: ("query", "positive") or ("query", "positive",
            "negative"); all are required.
    """
    return Pairs(
        {
            "query": ("query", "anchor", "question", "query_text"),
            "positive": (
                *("passage", "positive", "positives", "pos", "positive_passages"),
                *("positive_ctxs", *_UNCLEAR),
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
    message = f"{where}: no column for {key!r}; found: {listed(names)}; taken: {taken}"
    if key == "positive" and any(normal(name).endswith(("_id", "_ids")) for name in names):
        message += f". {IDS_NEED_A_FOLDER}"
    return message


def listed(names: Sequence[str]) -> str:
    """The names of columns in an error: at most ten, each cut."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return (
        ", ".join(name if len(name) <= 60 else f"{name[:57]}..." for name in names[:LISTED]) + more
    )


def separators(names: Sequence[str]) -> str:
    """What to do about a table of one column."""
    return "; separate them by commas, in .tsv by tabs" if len(names) == 1 else ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
