"""Records survive writing and reading unless they are refused; parameters of any type."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.ids import Ids, write_ids
from dpr.records.types import Judgment, Pair, Passage, Query
from dpr.runs import trec
from dpr.settings import load_settings

# The same examples each time.
EXAMPLES = settings(max_examples=100, deadline=None, derandomize=True, database=None)
settings.register_profile("default", EXAMPLES)
settings.load_profile("default")

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.one_of(TEXTS, st.text("aß1 \t\n\"'\\#\u2028\x00", max_size=4))
LINES = IDS.filter(lambda text: "\n" not in text)
WORDS = IDS.filter(lambda text: text.split() == [text])
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SCORES = st.dictionaries(WORDS, FINITE, min_size=1)


def several(rows):
    return st.lists(rows, min_size=1, max_size=5)


# name: (records, what writes them to a folder, what reads them again)
FORMATS = {
    "passages": (
        several(st.builds(Passage, IDS, TEXTS, TEXTS)),
        beir.write_passages,
        lambda folder: list(beir.read_passages(folder)),
    ),
    "queries": (
        several(st.builds(Query, IDS, TEXTS, st.booleans())),
        beir.write_queries,
        lambda folder: list(beir.read_queries(folder).values()),
    ),
    "pairs": (
        several(st.builds(Pair, IDS, IDS, st.tuples(IDS))),
        beir.write_pairs,
        beir.read_pairs,
    ),
    "judgments": (
        several(st.builds(Judgment, IDS, IDS, st.integers())),
        lambda folder, rows: beir.write_qrels(folder, "test", rows),
        lambda folder: list(beir.stream_judgments(folder, "test")),
    ),
    "ids": (
        several(LINES),
        lambda folder, ids: write_ids(folder, ids, len(ids)),
        lambda folder: list(Ids.open(folder)),
    ),
    "runs": (
        st.dictionaries(WORDS, SCORES, min_size=1, max_size=3),
        lambda folder, run: trec.write_run(folder / "run.txt", run, "tag"),
        lambda folder: {q: dict(s) for q, s in trec.read_run(folder / "run.txt").items()},
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_records_are_read_as_written_or_refused(name):
    records, write, read = FORMATS[name]

    @given(rows=records)
    def survive(rows):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), rows)
            with suppress(InputError):
                assert read(Path(folder)) == rows

    survive()


def leaves(group, prefix=()):
    for key, value in group.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        yield (*prefix, key)


YAML_FILE = YAML(typ="safe", pure=True)
TEXT = (ROOT / "params.yaml").read_text()
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(place=st.sampled_from(sorted(leaves(YAML_FILE.load(TEXT)))), value=ANY)
@settings(max_examples=60)
def test_a_parameter_of_any_type_is_taken_or_named(place, value):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "params.yaml")
        values = YAML_FILE.load(TEXT)
        group = values
        for key in place[:-1]:
            group = group[key]
        group[place[-1]] = value
        path.write_text(json.dumps(values))  # which is YAML
        try:
            load_settings(path)
        except InputError as error:
            assert str(path) in str(error)
            assert any(key in str(error) for key in place), error
