"""What is held out, and what is taken."""

from collections import Counter

from dpr.sources.sampling import draw, hold_out


def test_held_out_queries_are_drawn_by_seed():
    ids = [f"q{i // 2}" for i in range(200)]
    held = hold_out(ids, 20, seed=1)
    assert len(held) == 10
    assert held == hold_out(ids, 20, seed=1) != hold_out(ids, 20, seed=2)


def test_what_is_drawn_is_of_the_whole_stream_and_in_its_order():
    drawn = draw(iter(range(1000)), 50, seed=1)
    assert drawn == sorted(set(drawn)) and len(drawn) == 50
    assert max(drawn) > 800
    assert drawn == draw(range(1000), 50, seed=1) != draw(range(1000), 50, seed=2)
    assert draw(range(5), 9, seed=1) == draw(range(5), None, seed=1) == [0, 1, 2, 3, 4]


def test_each_item_is_drawn_as_often():
    counts = Counter(item for seed in range(3000) for item in draw(range(10), 3, seed))
    assert all(abs(counts[item] - 900) < 5 * 25 for item in range(10))  # 5 standard deviations
