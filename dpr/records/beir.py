"""The BEIR layout (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv), and training pairs.

    corpus.jsonl     {"_id": "d1", "title": "Heart", "text": "It beats."}
    queries.jsonl    {"_id": "q1", "text": "what beats?"}; optional: is_passage, mixture_source
    qrels/test.tsv   query-id TAB corpus-id TAB score, with a header
    pairs.jsonl      {"query_id": "q1", "passage_id": "d1", "negative_ids": ["d7"]}

Any BEIR tool reads the first three. If a file is missing, its name with `.gz` is tried.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.records.lines import existing, id_of, read_jsonl, read_lines, text_of, write_jsonl
from dpr.records.types import Judgment, Pair, Passage, Qrels, Query

PASSAGES, QUERIES, PAIRS = "corpus.jsonl", "queries.jsonl", "pairs.jsonl"
QRELS_HEADER = "query-id\tcorpus-id\tscore"


def write_passages(folder: Path, passages: Iterable[Passage]) -> None:
    write_jsonl(
        folder / PASSAGES, ({"_id": p.id, "title": p.title, "text": p.text} for p in passages)
    )


def write_queries(folder: Path, queries: Iterable[Query]) -> None:
    write_jsonl(
        folder / QUERIES,
        (
            {"_id": q.id, "text": q.text}
            | ({"is_passage": True} if q.is_passage else {})
            | ({"mixture_source": q.mixture_source} if q.mixture_source != 1 else {})
            for q in queries
        ),
    )


def write_pairs(folder: Path, pairs: Iterable[Pair]) -> None:
    write_jsonl(folder / PAIRS, (pair._asdict() for pair in pairs))


def count_negatives(folder: Path) -> dict[str, float]:
    """The numbers of pairs and of pairs with hard negatives; the mean number of negatives."""
    pairs = with_negatives = negatives = 0
    for pair in stream_pairs(folder):
        pairs += 1
        with_negatives += bool(pair.negative_ids)
        negatives += len(pair.negative_ids)
    mean = negatives / pairs
    return {"pairs": pairs, "with_negatives": with_negatives, "negatives_per_pair": mean}


def write_qrels(folder: Path, split: str, judgments: Iterable[Judgment]) -> None:
    with new_file(folder / "qrels" / f"{split}.tsv") as file:
        file.write(QRELS_HEADER + "\n")
        file.writelines(f"{j.query_id}\t{j.passage_id}\t{j.grade}\n" for j in judgments)


def read_passages(
    folder: str | Path, wanted: Callable[[int], bool] = lambda row: True
) -> Iterator[Passage]:
    """Passages one by one, in the order of the file; errors as in `read_queries`.

    Args:
        wanted: whether to parse and yield a row, numbered from 0.
    """
    for where, row in read_jsonl(Path(folder) / PASSAGES, wanted):
        title = text_of(where, row, "title", default="")
        yield Passage(id_of(where, row, "_id"), title, text_of(where, row, "text"))


def stream_queries(folder: str | Path) -> Iterator[Query]:
    """Queries one by one, in the order of the file, which may be empty.

    Raises:
        InputError: naming file and line, for a malformed line, an empty text or an invalid source.
    """
    file = existing(Path(folder) / QUERIES)
    for where, row in read_jsonl(file) if not _is_empty(file) else ():
        is_passage, source = row.get("is_passage") is True, row.get("mixture_source", 1)
        query = Query(id_of(where, row, "_id"), text_of(where, row, "text"), is_passage, source)
        if not query.text.strip():
            raise InputError(f"{where}: query {query.id!r} has no text; remove it or give it one")
        if type(source) is not int or source < 1:
            raise InputError(
                f"{where}: 'mixture_source' must be a whole number from 1, not {source!r}"
            )
        yield query


def _is_empty(file: Path) -> bool:
    return file.is_file() and not file.stat().st_size


class Queries(dict[str, Query]):
    """Queries by id; InputError for an id that the file lacks."""

    def __init__(self, folder: str | Path):
        self.file = existing(Path(folder) / QUERIES)

    def __missing__(self, query_id: str) -> Query:
        raise InputError(
            f"{self.file}: no query {query_id!r}, but pairs or judgments name it; "
            "is the file truncated?"
        )


def read_queries(folder: str | Path) -> Queries:
    """All queries; InputError for a duplicate id, and errors of `stream_queries`."""
    queries = Queries(folder)
    for query in stream_queries(folder):
        if query.id in queries:
            raise InputError(
                f"{queries.file}:{len(queries) + 1}: the id {query.id!r} comes twice; "
                "ids must be unique"
            )
        queries[query.id] = query
    return queries


def stream_pairs(folder: str | Path) -> Iterator[Pair]:
    """Training pairs one by one; InputError for a malformed line."""
    for where, row in read_jsonl(Path(folder) / PAIRS):
        negatives = row.get("negative_ids", [])
        if not (isinstance(negatives, list) and all(isinstance(n, str) for n in negatives)):
            raise InputError(f"{where}: 'negative_ids' must be a list of ids, not {negatives!r}")
        yield Pair(id_of(where, row, "query_id"), id_of(where, row, "passage_id"), tuple(negatives))


def read_pairs(folder: str | Path) -> list[Pair]:
    return list(stream_pairs(folder))


def stream_judgments(folder: str | Path, split: str) -> Iterator[Judgment]:
    """Judgments of a split one by one; none if the file has only a header.

    Raises:
        InputError: naming file and line, for a malformed line.
    """
    path = Path(folder) / "qrels" / f"{split}.tsv"
    if not existing(path).exists():
        splits = sorted({p.name.split(".")[0] for p in path.parent.glob("*.tsv*")})
        raise InputError(f"{path}: no such file; the splits here are: {', '.join(splits) or '-'}")
    lines = read_lines(path)
    where, header = next(lines)
    if header != QRELS_HEADER:
        raise InputError(f"{where}: the header must be {QRELS_HEADER!r}, not {header!r}")
    for where, line in lines:
        try:
            query_id, passage_id, text = line.split("\t")
            if line.split() != [query_id, passage_id, text]:
                raise ValueError  # an empty id, or one with white space
            yield Judgment(query_id, passage_id, _grade(text))
        except ValueError:
            raise InputError(
                f"{where}: {line!r} is not `query TAB passage TAB integer grade`"
            ) from None


def _grade(text: str) -> int:
    """ValueError unless it is an integer below 2^20: trec_eval keeps a counter per grade."""
    value = int(text)
    if not -(2**20) < value < 2**20:
        raise ValueError
    return value


def read_test_qrels(folder: str | Path) -> Qrels:
    """The judgments of the test topics; InputError if there are none, and errors as below."""
    if qrels := read_qrels(folder, "test"):
        return qrels
    raise InputError(
        f"{folder}: no judged topics, so there is nothing to search for and to measure; "
        "`python -m tools.ask` answers questions"
    )


def read_qrels(folder: str | Path, split: str) -> Qrels:
    """Judgments by query; InputError for a passage judged twice, and errors as above."""
    qrels: Qrels = {}
    for number, (query_id, passage_id, grade) in enumerate(stream_judgments(folder, split), 2):
        if passage_id in qrels.setdefault(query_id, {}):
            path = existing(Path(folder) / "qrels" / f"{split}.tsv")
            raise InputError(f"{path}:{number}: {passage_id!r} is judged twice for {query_id!r}")
        qrels[query_id][passage_id] = grade
    return qrels
