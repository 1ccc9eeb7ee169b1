"""Batches of training pairs."""

import itertools
from collections import Counter

import numpy as np
import pytest
from helpers import contents

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.types import Judgment, Pair, Passage, Query


def ids(folder, pairs):
    """The ids of the queries and passages of some pairs, by row: in the order of their files."""
    used = {i for pair in pairs for i in (pair.query_id, pair.passage_id, *pair.negative_ids)}
    queries = [q for q in beir.read_queries(folder) if q in used]
    return queries, [p.id for p in beir.read_passages(folder) if p.id in used]


def named(targets, folder, pairs):
    queries, passages = ids(folder, pairs)
    return targets._replace(
        query_ids=[queries[row] for row in targets.query_ids],
        passage_ids=[passages[row] for row in targets.passage_ids],
    )


def targets(pairs, count, folder, listed=None, seed=0):
    listed = beir.read_pairs(folder) if listed is None else listed
    batches = itertools.islice(pairs.batches(seed), count)
    return [named(batch.targets, folder, listed) for batch in batches]


def relevant(targets):
    return {
        (q, p)
        for q, row in zip(targets.query_ids, targets.relevant.tolist(), strict=True)
        for p, yes in zip(targets.passage_ids, row, strict=True)
        if yes
    }


def test_the_tokens_are_those_of_the_texts(make_pairs, make_encoder, collection):
    encoder, pairs, short = make_encoder(), make_pairs(), make_pairs(passage_max_length=8)
    texts = {p.id: contents(p) for p in beir.read_passages(collection)}
    queries, passages = ids(collection, beir.read_pairs(collection))
    for row, passage_id in enumerate(passages):
        expected = encoder.tokenize([texts[passage_id]], "passage")[0]
        np.testing.assert_array_equal(pairs.passages[row], expected)
        assert len(short.passages[row]) == min(8, len(expected))
    row = queries.index("q1")
    np.testing.assert_array_equal(pairs.queries[row], encoder.tokenize(["lung"], "query")[0])


def test_an_epoch_has_each_pair_once_and_full_batches_only(make_pairs, collection):
    pairs = make_pairs(batch_size=4)
    assert len(pairs.pairs) == 18
    assert pairs.groups.batches_per_epoch == 4
    seen = [
        (batch.query_ids[row], batch.passage_ids[column])
        for batch in targets(pairs, 4, collection, seed=1)
        for row, column in batch.pairs.tolist()
    ]
    assert len(seen) == len(set(seen)) == 16
    listed = beir.read_pairs(collection)
    assert set(seen) <= {(pair.query_id, pair.passage_id) for pair in listed}
    first = lambda seed: next(pairs.batches(seed)).targets.passage_ids  # noqa: E731
    assert first(1) == first(1) != first(2)


def test_later_batches_are_the_same_without_the_earlier_ones(make_pairs):
    pairs = make_pairs(batch_size=4, hard_negatives=1)
    every = list(itertools.islice(pairs.batches(3), 9))
    for start in (1, 4, 6):  # an epoch has 4
        later = list(itertools.islice(pairs.batches(3, start), 3))
        for batch, expected in zip(later, every[start : start + 3], strict=True):
            assert batch.targets.query_ids == expected.targets.query_ids
            assert batch.targets.passage_ids == expected.targets.passage_ids


def test_queries_of_a_passage_are_drawn_together(make_pairs, collection):
    """Three passages with one, two and four queries; two passages a batch, two queries each."""
    wanted = {"d00": ["q0"], "d01": ["q1", "q2"], "d02": ["q0", "q1", "q2", "q3"]}
    listed = [Pair(q, p) for p, queries in wanted.items() for q in queries]
    pairs = make_pairs(listed, batch_size=2, group_by="passage", pairs_per_group=2)
    assert pairs.groups.batches_per_epoch == 1
    drawn = set()
    for batch in targets(pairs, 60, collection, listed):
        of = {p: [] for p in batch.passage_ids}
        for row, column in batch.pairs.tolist():
            of[batch.passage_ids[column]].append(batch.query_ids[row])
        assert len(of) == 2
        for passage_id, queries in of.items():
            assert len(queries) == len(set(queries)) == min(2, len(wanted[passage_id]))
            assert set(queries) <= set(wanted[passage_id])
            drawn.add((passage_id, *queries))
    assert {len(d) for d in drawn if d[0] == "d02"} == {3}
    assert len({d for d in drawn if d[0] == "d02"}) == 6  # every two of four


def test_each_query_is_drawn_alike_however_many_passages_it_has(make_pairs, collection):
    """Queries with 1, 2 and 4 passages: an epoch has each once, with one passage."""
    wanted = {"q0": ["d00"], "q1": ["d01", "d02"], "q2": ["d10", "d11", "d12", "d13"]}
    listed = [Pair(q, p) for q, passages in wanted.items() for p in passages]
    pairs = make_pairs(listed, batch_size=3, group_by="query")
    drawn = {query_id: Counter() for query_id in wanted}
    for batch in targets(pairs, 200, collection, listed):
        assert sorted(batch.query_ids) == ["q0", "q1", "q2"]
        assert len(batch.pairs) == 3
        for row, column in batch.pairs.tolist():
            drawn[batch.query_ids[row]][batch.passage_ids[column]] += 1
    assert {query_id: sorted(counts) for query_id, counts in drawn.items()} == wanted
    assert all(30 < count < 70 for count in drawn["q2"].values())


@pytest.mark.parametrize(("count", "columns"), [(0, 1), (1, 2), (2, 3), (9, 4)])
def test_so_many_hard_negatives_are_drawn(make_pairs, collection, count, columns):
    listed = [Pair("q0", "d00", ("d01", "d02", "d03")), Pair("q0", "d12", ("d01", "d02", "d03"))]
    pairs = make_pairs(listed, batch_size=2, hard_negatives=count)
    own = [pair._replace(negative_ids=()) for pair in listed]
    sets = set()
    for batch in targets(pairs, 30, collection, listed if count else own):
        negatives = batch.passage_ids[2:]
        assert set(negatives) <= {"d01", "d02", "d03"}
        assert columns - 1 <= len(negatives) <= min(3, 2 * count)
        sets.add(tuple(sorted(negatives)))
    assert (len(sets) > 1) == (count in (1, 2))


def test_a_text_of_the_same_tokens_is_no_negative(tmp_path, make_pairs):
    """d0, d1 and e are one text, and so are q0 and q3: what answers one of them answers all."""
    texts = {"d0": "The heart.", "d1": "the  Heart.", "d2": "A lung.", "e": "the HEART.", "f": "f"}
    beir.write_passages(tmp_path, [Passage(i, "", text) for i, text in texts.items()])
    queries = {"q0": "heart", "q1": "a pump", "q2": "lung", "q3": "Heart"}
    beir.write_queries(tmp_path, [Query(i, text) for i, text in queries.items()])
    judged = [Judgment("q0", "d0", 1), Judgment("q1", "d1", 0), Judgment("q3", "f", 2)]
    beir.write_qrels(tmp_path, "train", judged)
    pairs = [Pair("q0", "d0"), Pair("q1", "d1"), Pair("q2", "f", ("e",)), Pair("q3", "d2")]
    batch = next(make_pairs(pairs, tmp_path, batch_size=4).batches(seed=0)).targets
    answers = {}
    for query_id, passage_id in relevant(named(batch, tmp_path, pairs)):
        answers.setdefault(query_id, set()).add(passage_id)
    assert answers == {
        "q0": {"d0", "d1", "e", "f", "d2"},  # of q3 too
        "q1": {"d0", "d1", "e"},
        "q2": {"f"},
        "q3": {"d0", "d1", "e", "f", "d2"},
    }


def test_bad_pairs(make_pairs):
    with pytest.raises(InputError, match=r"only \d training queries"):
        next(make_pairs(batch_size=64, group_by="query").batches(seed=0))
    with pytest.raises(InputError, match=r"pair 2: its query or one of its passages is not in"):
        make_pairs([Pair("q0", "d00"), Pair("q0", "d99")])


def test_a_query_that_is_a_passage_is_no_negative_of_its_own(make_pairs, tmp_path):
    """a is the passage of b, and the other way round: neither is a negative of itself."""
    beir.write_passages(tmp_path, [Passage(i, "", f"text {i}") for i in "abc"])
    pairs = [Pair("a", "b"), Pair("b", "a"), Pair("c", "b")]
    judged = [Judgment(q, p, 1) for q, p, _ in pairs] + [Judgment("a", "a", 0)]
    beir.write_qrels(tmp_path, "train", judged)
    answers = []
    for own in (False, True):
        beir.write_queries(tmp_path, [Query(i, f"query {i}", own and i != "c") for i in "abc"])
        batch = next(make_pairs(pairs, tmp_path, batch_size=3).batches(0)).targets
        answers.append(relevant(named(batch, tmp_path, pairs)))
    assert answers[0] == {("a", "b"), ("b", "a"), ("c", "b")}
    assert answers[1] == answers[0] | {("a", "a"), ("b", "b")}
