"""A set of ids, against Python's own."""

import numpy as np

from dpr.records.ids import IdSet


def test_id_set_is_a_set():
    rng = np.random.default_rng(0)
    names = [f"id-{n}" for n in rng.integers(0, 5000, size=4000)]
    ids, reference = IdSet(), set(names)
    for name in names:
        ids.add(name)
    assert all(f"id-{n}" in ids for n in range(5000) if f"id-{n}" in reference)
    assert not any(f"id-{n}" in ids for n in range(5000) if f"id-{n}" not in reference)
    repeated = {name for name in reference if names.count(name) > 1}
    assert {name for name in reference if name in ids.duplicates()} == repeated
    assert (len(ids), ids.distinct()) == (len(names), len(reference))
