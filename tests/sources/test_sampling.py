"""What is held out, and what is taken."""

from dpr.sources.sampling import hold_out


def test_held_out_queries_are_drawn_by_seed():
    ids = [f"q{i // 2}" for i in range(200)]
    held = hold_out(ids, 20, seed=1)
    assert len(held) == 10
    assert held == hold_out(ids, 20, seed=1) != hold_out(ids, 20, seed=2)
