"""The tables of figures, by numbers written by hand."""

from tools import report_tables

MEANS = {"mean": 0.2, "low": 0.1, "high": 0.3}
TEST = {"difference": 0.1333, "wins": 3, "ties": 0, "losses": 0}
TEST |= {"p_randomization": 0.25, "p_t": 0.02, "p_holm": 0.5}
COMPARED = {
    "systems": {"bm25": {"nDCG@10": MEANS, "AP": MEANS}},
    "against": {"bm25": {"dense": {"nDCG@10": TEST}}},
}


def test_systems_have_means_with_intervals():
    table = report_tables.systems(COMPARED, ["AP"])
    assert table.header == ["system", "AP"]
    assert table.rows == [["bm25", "0.200 [0.100, 0.300]"]]
    assert table.markdown.startswith("| system | AP ")


def test_tests_have_differences_and_p_values():
    (row,) = report_tables.tests(COMPARED).rows
    assert row == ["dense - bm25", "+0.1333", "3 / 0 / 0", "0.2500", "0.0200", "0.5000"]


def test_sides_differ_in_parameters_and_measures(monkeypatch):
    texts = {
        ("a", "params.yaml"): "train: {lr: 1, steps: 5}\nseed: 1",
        ("b", "params.yaml"): "train: {lr: 2, steps: 5, new: 3}\nseed: 1",
        ("a", "metrics/eval.json"): '{"dense": {"AP": 0.25}}',
        ("b", "metrics/eval.json"): '{"dense": {"AP": 0.5}}',
    }
    monkeypatch.setattr(report_tables.sides, "text", lambda side, path: texts[side, path])
    parameters, measured = report_tables.changed(["a", "b"])
    assert parameters.rows == [["train.lr", "1", "2"], ["train.new", "-", "3"]]
    assert measured.rows == [["dense.AP", "0.2500", "0.5000", "+0.2500"]]
