"""One reading of a user's table: takes the fields of each row, repairs values and counts it."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpr.base.errors import InputError
from dpr.sources.columns import Kind, missing_column, normal


@dataclass
class Findings:
    """What is repaired, and which columns are ignored, for the manifest and for people.

    Attributes:
        description: for the manifest. Its keys "repairs" and "ignored_columns" are there once all
            tables have been read, and only if there is something in them.
    """

    description: dict[str, Any] = field(default_factory=dict)
    _tables: dict[str, "Reading"] = field(default_factory=dict)

    def done(self, reading: "Reading") -> None:
        """Take the counts of a table; those of an earlier reading are replaced."""
        self._tables[reading.table] = reading
        counts: Counter[str] = Counter()
        for read in self._tables.values():
            counts += read.repaired  # without zeros
        ignored = {n: sorted(r.ignored) for n, r in sorted(self._tables.items()) if r.ignored}
        scores = sorted({name for read in self._tables.values() for name in read.scores})
        taken = {n: sorted(r.taken) for n, r in sorted(self._tables.items()) if r.taken}
        found = {"repairs": dict(counts), "ignored_columns": ignored, "unused_scores": scores}
        found["taken"] = taken
        self.description |= {key: value for key, value in found.items() if value}

    def report(self, name: str) -> None:
        """Print what was found in a source, if anything."""
        if repairs := self.description.get("repairs"):
            said = ", ".join(f"{count:,} {what}" for what, count in repairs.items())
            print(f"{name}: repaired: {said}", file=sys.stderr)
        for table, taken in self.description.get("taken", {}).items():
            print(f"{name}: {table}: {'; '.join(taken)}", file=sys.stderr)
        for table, columns in self.description.get("ignored_columns", {}).items():
            print(f"{name}: {table}: columns ignored: {', '.join(columns)}", file=sys.stderr)
        if scores := self.description.get("unused_scores"):
            print(
                f"{name}: THE TEACHER'S SCORES ARE NOT USED: {', '.join(scores)}. The training is "
                "that of pairs without scores; for a teacher, see docs/ways.md",
                file=sys.stderr,
            )


class Reading:
    """One reading of a table: takes fields from rows, and counts repairs.

    Args:
        table: its name, in the manifest.
    """

    def __init__(self, table: str, kind: Kind):
        self.table, self.kind = table, kind
        self.repaired: Counter[str] = Counter()
        self.ignored: set[str] = set()
        self.scores: set[str] = set()  # columns of a teacher
        self.taken: set[str] = set()  # what was assumed, for people
        self._plans: dict[tuple[str, ...], list[tuple[str, str]]] = {}

    def wanted(self, names: Sequence[str]) -> list[str] | None:
        """The columns of a file to read. None, for all, if none is known: `fields` lists them."""
        known = [name for name in names if self.kind.field_of(name)]
        self.ignored.update(name for name in names if known and name not in known)
        return known or None

    def fields(self, where: str, row: dict[str, Any]) -> dict[str, Any]:
        """{field: value}; of a field with `many` columns, a list.

        Raises:
            InputError: if a required column is missing; it lists what was found.
        """
        names = tuple(row)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plans[names] = self._plan(where, row)
        found: dict[str, Any] = {}
        for key, name in plan:
            if key in self.kind.many:
                found.setdefault(key, []).append(row[name])
            else:
                found[key] = row[name]
        return found

    def _plan(self, where: str, row: dict[str, Any]) -> list[tuple[str, str]]:
        columns: dict[str, list[str]] = {}
        for name in row:
            key = self.kind.field_of(name)
            if key:
                columns.setdefault(key, []).append(name)
            else:
                self.ignored.add(name or "(without a name)")
        for key in self.kind.required:
            if key not in columns:
                message = missing_column(where, self.kind, key, list(row))
                if row and all(isinstance(value, dict | list) for value in row.values()):
                    message += "; write one object a row, not one object of rows"
                raise InputError(message)
        self.scores.update(columns.get("teacher", ()))
        for key, found in columns.items():
            if key not in self.kind.many:
                found.sort(key=lambda name: self.kind.columns[key].index(normal(name)))
        taken = self.kind.settled(where, columns)
        plan = [
            (key, name)
            for key, found in taken.items()
            for name in (found if key in self.kind.many else found[:1])
        ]
        known = {name for found in columns.values() for name in found}
        self.ignored.update(known - {name for _, name in plan})
        return plan

    def identifier(self, where: str, key: str, value: Any) -> str:
        """An id; a whole number is its digits."""
        if type(value) is int:
            self.repaired["integer ids"] += 1
            return str(value)
        if type(value) is float and value.is_integer() and abs(value) < 2**53:  # exact
            self.repaired["decimal ids"] += 1
            return str(int(value))
        if not isinstance(value, str) or not value or value.split() != [value]:
            raise InputError(
                f"{where}: {key!r} must be an id without white space, not {shown(value)}"
            )
        return value

    def text(self, where: str, key: str, value: Any, optional: str = "") -> str:
        """A text. If the value is null: an empty one, counted as `optional`, or an error."""
        if isinstance(value, str):
            return value
        if optional and is_null(value):
            self.repaired[optional] += 1
            return ""
        cure = "; remove the row or give it a text" if is_null(value) else ""
        raise InputError(f"{where}: {key!r} must be text, not {shown(value)}{cure}")

    def grade(self, where: str, key: str, value: Any) -> int:
        """A whole number below 2^20, since trec_eval keeps a counter per grade."""
        if type(value) is int:
            grade = value
        else:
            grade = self._whole(value, lambda: f"{where}: {key!r} must be a whole number, not")
        if not -(2**20) < grade < 2**20:
            raise InputError(f"{where}: {key!r} must be below 2^20, not {shown(value)}")
        return grade

    def _whole(self, value: Any, message: Callable[[], str]) -> int:
        try:
            if isinstance(value, str):
                try:
                    return int(value)
                except ValueError:
                    value = float(value)
            if type(value) is not float or not value.is_integer():
                raise ValueError
        except ValueError:
            cure = "0 for not relevant, 1 or above for relevant; a score of a model is no grade"
            raise InputError(f"{message()} {shown(value)}; {cure}") from None
        self.repaired["decimal grades"] += 1
        return int(value)


def is_null(value: Any) -> bool:
    """Whether a value is missing; pandas writes a missing text as NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def shown(value: Any) -> str:
    """A value in an error, in one short line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
