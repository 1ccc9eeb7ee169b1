"""Which examples are used, and which are held out."""

from collections import Counter

import numpy as np

from dpr.sources.sampling import draw, hold_out, hold_out_numbers


def test_held_out_queries_are_drawn_by_seed():
    ids = [f"q{i // 2}" for i in range(200)]
    held = hold_out(ids, 20, seed=1)
    assert len(held) == 10
    assert held == hold_out(ids, 20, seed=1) != hold_out(ids, 20, seed=2)


def test_items_are_drawn_from_the_whole_stream_and_stay_in_order():
    drawn = list(draw(range(1000), 50, seed=1))
    assert drawn == sorted(set(drawn)) and len(drawn) == 50
    assert max(drawn) > 800
    again, other = (list(draw(range(1000), 50, seed)) for seed in (1, 2))
    assert drawn == again != other
    assert [*draw(range(5), 9, seed=1)] == [*draw(range(5), None, seed=1)] == [0, 1, 2, 3, 4]


def test_each_item_is_drawn_as_often():
    counts = Counter(item for seed in range(3000) for item in draw(range(10), 3, seed))
    assert all(abs(counts[item] - 900) < 5 * 25 for item in range(10))  # 5 standard deviations


def test_numbers_are_held_out_as_ids_are():
    numbers = np.random.default_rng(0).permutation(np.repeat(np.arange(123), 2))
    for seed in range(3):
        held = hold_out([f"q{n}" for n in numbers], 30, seed)
        assert held == {f"q{n}" for n in hold_out_numbers(numbers, 30, seed)}
