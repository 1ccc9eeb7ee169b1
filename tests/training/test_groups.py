"""Batches of several sources: their shares, and prompts by source."""

import itertools
from collections import Counter

import numpy as np
import pytest
from helpers import settings

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.types import Query
from dpr.training.batch import Groups


def groups(sizes, **changes):
    """Pairs of sources 1, 2 ..., so many of each, in turn as long as there are any."""
    turns = itertools.zip_longest(*([source] * size for source, size in sizes.items()))
    source_of = np.array([source for turn in turns for source in turn if source])
    pairs = np.column_stack([np.arange(len(source_of))] * 2)
    return Groups(pairs, source_of, settings(**changes)), source_of


def drawn(sizes, count, seed=0, **changes):
    """The sources of the groups of each batch, (count, batch size)."""
    units, source_of = groups(sizes, **changes)
    batches = itertools.islice(units.batches(np.random.default_rng(seed)), count)
    return source_of[np.array(list(batches))]


def test_shares_are_the_frequencies_of_the_sources():
    """However large the sources are."""
    chosen = {"mixture": [0.7, 0.1, 0.2], "batch_size": 4}
    sizes = {1: 10, 2: 100, 3: 5}
    seen = drawn(sizes, 2000, **chosen)
    assert np.bincount(seen.ravel())[1:] / seen.size == pytest.approx([0.7, 0.1, 0.2], abs=0.02)
    # Shares that miss 1 by a little, as params.yaml accepts them.
    thirds = [0.3333333] * 3
    assert settings().model_validate(settings(mixture=thirds).model_dump()).mixture == thirds
    equal = drawn({1: 9, 2: 9, 3: 9}, 1500, mixture=thirds, batch_size=2)
    assert np.bincount(equal.ravel())[1:] / equal.size == pytest.approx([1 / 3] * 3, abs=0.04)
    alone = drawn(sizes, 2000, one_source=True, **chosen)
    assert (alone == alone[:, :1]).all()
    assert np.bincount(alone[:, 0])[1:] / 2000 == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


@pytest.mark.parametrize("mixture", ["proportional", "round_robin", [0.5, 0.5]])
@pytest.mark.parametrize("one_source", [True, False])
def test_each_group_of_a_source_comes_as_often(mixture, one_source):
    units, source_of = groups({1: 8, 2: 8}, mixture=mixture, one_source=one_source, batch_size=4)
    batches = list(itertools.islice(units.batches(np.random.default_rng(0)), 400))
    counts = Counter(np.concatenate(batches).tolist())
    for source in (1, 2):
        times = [counts[group] for group in np.flatnonzero(source_of == source)]
        assert max(times) - min(times) <= 1
    sources = [set(source_of[batch]) for batch in batches]
    assert all(len(of_batch) == 1 for of_batch in sources) == one_source
    repeated = itertools.islice(units.batches(np.random.default_rng(0)), 400)
    assert all((a == b).all() for a, b in zip(batches, repeated, strict=True))


def test_round_robin_alternates_inside_the_batches():
    seen = drawn({1: 20, 2: 3, 3: 9}, 10, mixture="round_robin", batch_size=4)
    assert seen.ravel().tolist() == [n % 3 + 1 for n in range(40)]


def test_without_a_source_alone_a_proportional_epoch_has_each_group_once():
    units, _ = groups({1: 7, 2: 5}, mixture="proportional", one_source=False, batch_size=4)
    assert units.batches_per_epoch == 3
    epoch = np.concatenate(list(itertools.islice(units.batches(np.random.default_rng(0)), 3)))
    assert sorted(epoch.tolist()) == list(range(12))


def test_groups_are_in_the_order_of_their_first_pair():
    pairs = np.array([[5, 1], [2, 1], [5, 0], [9, 1], [2, 4]])
    sources = np.array([1, 2, 1, 1, 2])
    by_query = Groups(pairs, sources, settings(group_by="query"))
    assert [by_query.members(g).tolist() for g in range(3)] == [[0, 2], [1, 4], [3]]
    assert by_query.source_of.tolist() == [1, 2, 1]
    by_passage = Groups(pairs, sources, settings(group_by="passage"))
    assert [by_passage.members(g).tolist() for g in range(3)] == [[0, 1, 3], [2], [4]]
    alone = Groups(pairs, sources, settings(group_by=None))
    assert [alone.members(g).tolist() for g in range(5)] == [[n] for n in range(5)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": [0.5, 0.5]}, r"train\.mixture: 2 shares for 3 sources"),
        ({"one_source": True}, r"batch_size is 6, .* only 3 training pairs in one source"),
        ({"batch_size": 30}, r"batch_size is 30, .* only 29 training pairs$"),
    ],
)
def test_sources_that_do_not_fit_the_settings(changes, message):
    units, _ = groups({1: 20, 2: 3, 3: 6}, **changes)
    with pytest.raises(InputError, match=message):
        next(units.batches(np.random.default_rng(0)))
    with pytest.raises(InputError, match=message):
        _ = units.batches_per_epoch


def test_queries_have_the_prompts_of_their_sources(collection, make_pairs, make_encoder):
    texts = {query.id: query.text for query in beir.read_queries(collection).values()}
    sources = {query_id: 2 if query_id in ("q1", "q4", "q5") else 1 for query_id in texts}
    beir.write_queries(collection, [Query(i, t, False, sources[i]) for i, t in texts.items()])
    encoder, prompts = make_encoder(query_prefix="not this: "), ["one: ", "the second: "]
    pairs = make_pairs(encoder=encoder, reading={"prompts": prompts}, one_source=True)
    plain = make_encoder()
    trained = [query_id for query_id in texts if query_id in {f"q{n}" for n in range(6)}]
    for row, query_id in enumerate(trained):
        with_prompt = prompts[sources[query_id] - 1] + texts[query_id]
        expected = plain.tokenize([with_prompt], "query")[0]
        np.testing.assert_array_equal(pairs.queries[row], expected)
    for batch in itertools.islice(pairs.batches(0), 6):  # the sources reach the batches
        assert len({sources[trained[row]] for row in batch.targets.query_ids}) == 1
