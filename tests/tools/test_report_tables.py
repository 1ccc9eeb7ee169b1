"""The tables of figures, by numbers written by hand."""

from tools import report_tables


def means(value):
    return {"mean": value, "low": value - 0.1, "high": value + 0.1}


def difference(value, p):
    test = {"difference": value, "low": value - 0.1, "high": value + 0.1, "p_holm": p}
    test |= {"detectable": 0.12346, "topics_needed": 1200 if value > 0 else None}
    return {"nDCG@10": test | {"wins": 3, "ties": 1, "losses": 2}}


COMPARED = {
    "topics": 6,
    "systems": {
        "bm25": {"nDCG@10": means(0.2), "AP": means(0.5)},
        "dense": {"nDCG@10": means(0.3), "AP": means(0.4)},
        "hybrid": {"nDCG@10": means(0.25), "AP": means(0.3)},
    },
    "against": {
        "bm25": {"dense": difference(0.1, 0.04), "hybrid": difference(0.05, 0.06)},
        "dense": {"hybrid": difference(-0.05, 0.049)},
    },
}


def test_systems_are_best_first_with_letters_of_those_below():
    table = report_tables.systems(COMPARED, ["nDCG@10", "AP"])
    assert table.header == ["", "system", "nDCG@10", "above", "AP"]
    assert table.rows == [
        ["a", "dense", "**0.300 [0.200, 0.400]**", "bc", "0.400 [0.300, 0.500]"],
        ["b", "hybrid", "0.250 [0.150, 0.350]", "", "0.300 [0.200, 0.400]"],
        ["c", "bm25", "0.200 [0.100, 0.300]", "", "**0.500 [0.400, 0.600]**"],
    ]


def test_a_pair_names_the_better_system_first():
    """dense - hybrid is in the file as hybrid - dense: its signs, ends, wins and losses turn."""
    rows, power = report_tables.tests(COMPARED).rows, ["0.1235", "1,200"]
    assert rows == [
        ["dense", "hybrid", "+0.0500", "-0.0500 to +0.1500", "2 / 1 / 3", "0.0490", "0.1235", "-"],
        ["dense", "bm25", "+0.1000", "+0.0000 to +0.2000", "3 / 1 / 2", "0.0400", *power],
        ["hybrid", "bm25", "+0.0500", "-0.0500 to +0.1500", "3 / 1 / 2", "0.0600", *power],
    ]


def test_sides_differ_in_parameters_and_measures(monkeypatch):
    texts = {
        ("a", "params.yaml"): "train: {lr: 1, steps: 5}\nseed: 1",
        ("b", "params.yaml"): "train: {lr: 2, steps: 5, new: 3}\nseed: 1",
        ("a", "metrics/eval.json"): '{"dense": {"AP": 0.25, "P@5": 0.5}}',
        ("b", "metrics/eval.json"): '{"dense": {"AP": 0.5}}',
    }
    monkeypatch.setattr(report_tables.sides, "text", lambda side, path: texts[side, path])
    parameters, measured = report_tables.changed(["a", "b"])
    assert parameters.rows == [["train.lr", "1", "2"], ["train.new", "-", "3"]]
    assert measured.rows == [["dense.AP", "0.2500", "0.5000", "+0.2500"]]
    assert measured.note == "Left out, since one side alone has them: P@5."
