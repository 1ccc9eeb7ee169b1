"""What describes a run goes when another one is begun."""

from graph_helpers import GRAPH, STEPS, deps, outs

from stages import figures


def downstream(stages):
    """The metrics and plots of the stages that need, at any distance, an output of these."""
    made = {out for name, system in STEPS if name in stages for out in outs(name, system)}
    reached = set()
    while True:
        found = {
            (name, system) for name, system in STEPS if set(deps(name, system)) & made
        } - reached
        if not found:
            break
        reached |= found
        made |= {out for step in found for out in outs(*step)}
    return {out for out in made if out.startswith(("metrics/", "plots/"))}


def test_the_figures_are_those_that_need_runs():
    assert {*figures.OF_ALL, *figures.OF_ENCODERS} == downstream({"search", "bm25_search"})
    assert downstream({"bm25_search"}) - {"metrics/audit.json", "plots/tradeoff.csv"} == {
        *figures.OF_ALL
    }


def test_what_may_fail_comes_last():
    """If audit fails, all other figures are those of the new runs."""
    needed = set(GRAPH["audit"]["deps"])
    assert {"metrics/compare.json", "metrics/eval.json"} <= needed
    assert not downstream({"audit"}) - {"metrics/audit.json", "plots/tradeoff.csv"}


def test_they_are_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (*figures.OF_ALL, *figures.OF_ENCODERS, "metrics/train.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    figures.forget("bm25")
    assert {*map(str, tmp_path.rglob("*.*"))} == {
        str(tmp_path / name) for name in (*figures.OF_ENCODERS, "metrics/train.json")
    }
    figures.forget("dense")
    assert [path.name for path in tmp_path.rglob("*.*")] == ["train.json"]
    figures.forget("dense")
