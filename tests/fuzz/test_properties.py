"""Records survive writing and reading unless they are refused; parameters of any type."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

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
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def read_or_refused(read, expected):
    with suppress(InputError):
        assert read() == expected


@given(rows=st.lists(st.builds(Passage, IDS, TEXTS, TEXTS), min_size=1, max_size=5))
def test_passages(rows):
    with tempfile.TemporaryDirectory() as name:
        beir.write_passages(Path(name), rows)
        read_or_refused(lambda: list(beir.read_passages(name)), rows)


@given(rows=st.lists(st.builds(Query, IDS, TEXTS, st.booleans()), min_size=1, max_size=5))
def test_queries(rows):
    with tempfile.TemporaryDirectory() as name:
        beir.write_queries(Path(name), rows)
        read_or_refused(lambda: list(beir.read_queries(name).values()), rows)


@given(rows=st.lists(st.builds(Pair, IDS, IDS, st.tuples(IDS)), min_size=1, max_size=5))
def test_pairs(rows):
    with tempfile.TemporaryDirectory() as name:
        beir.write_pairs(Path(name), rows)
        read_or_refused(lambda: beir.read_pairs(name), rows)


@given(rows=st.lists(st.builds(Judgment, IDS, IDS, st.integers()), min_size=1, max_size=5))
def test_judgments(rows):
    with tempfile.TemporaryDirectory() as name:
        beir.write_qrels(Path(name), "test", rows)
        read_or_refused(lambda: list(beir.stream_judgments(name, "test")), rows)


@given(ids=st.lists(IDS.filter(lambda text: "\n" not in text), min_size=1, max_size=5))
def test_ids(ids):
    with tempfile.TemporaryDirectory() as name:
        write_ids(Path(name), ids, len(ids))
        read_or_refused(lambda: list(Ids.open(Path(name))), ids)


WITHOUT_SPACE = IDS.filter(lambda text: text.split() == [text])
SCORES = st.dictionaries(WITHOUT_SPACE, FINITE, min_size=1)


@given(run=st.dictionaries(WITHOUT_SPACE, SCORES, min_size=1, max_size=3))
def test_runs(run):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "run.txt")
        trec.write_run(path, run, "tag")
        read_or_refused(lambda: {q: dict(s) for q, s in trec.read_run(path).items()}, run)


def leaves(group, prefix=()):
    for key, value in group.items():
        if isinstance(value, dict):
            yield from leaves(value, (*prefix, key))
        yield (*prefix, key)


YAML_FILE = YAML(typ="safe", pure=True)
VALUES = YAML_FILE.load(ROOT / "params.yaml")
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(where=st.sampled_from(sorted(leaves(VALUES))), value=ANY)
@settings(max_examples=60)
def test_a_parameter_of_any_type_is_taken_or_named(where, value):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "params.yaml")
        values = YAML_FILE.load(ROOT / "params.yaml")
        group = values
        for key in where[:-1]:
            group = group[key]
        group[where[-1]] = value
        path.write_text(json.dumps(values))  # which is YAML
        try:
            load_settings(path)
        except InputError as error:
            assert str(path) in str(error)
            assert any(key in str(error) for key in where), error
