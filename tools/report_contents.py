"""What the report says: its question and answer, and all that its pages show."""

from collections.abc import Iterator
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.records import beir
from dpr.settings import load_settings
from tools import report_charts, report_page, report_tables, sides
from tools.report_charts import Chart
from tools.report_page import Compared

BEGINNING, TRAINED = "zero_shot", "dense"
HUMAN = ("medline", "trec-covid")  # known to be judged by people
SAME = 1e-9  # metrics are rounded to twelve digits


def gather(names: list[str], made_with: list[str]) -> dict[str, Any]:
    """All that the templates ask for; of two sides, or of the encoder before and after training."""
    compared = two_sides(*names) if names else before_and_after()
    moved, shown = compared.moved(), names or [sides.WORKSPACE]
    notes = [said for name in shown for said in (*unhelpful(name), sides.stale(name)) if said]
    name = read_json("data/manifest.json")["collection"]["name"]
    about: dict[str, Any] = {
        "title": f"{compared.after.name} against {compared.before.name} on {name}",
        "question": question(names, len(compared.qrels), name),
        "answer": answer(compared),
        "notes": notes,
        "tables": report_tables.differences(compared, names) if names else report_tables.results(),
        "charts": [("Gain by topic", report_charts.gains(compared.gains(), HEADLINE))],
        "moved": [
            ("won", "Topics that won most", moved["won"]),
            ("lost", "Topics that lost most", moved["lost"]),
        ],
        "details": report_tables.properties(shown[-1], made_with),
        "params": [(side, sides.text(side, "params.yaml")) for side in shown],
        "command": " ".join(["python -m tools.report", *names]),
        "vega": report_page.vega(),
        "as_json": report_page.chart,
        "sections": [
            *[("results", "Results"), ("charts", "Charts"), ("won", "Won")],
            *[("lost", "Lost"), ("made", "How it was made")],
        ],
    }
    if not names:
        about["charts"] = [*of_systems(), *about["charts"], *of_training()]
    return about


def before_and_after() -> Compared:
    found = [sides.read(sides.WORKSPACE, "test", system) for system in (BEGINNING, TRAINED)]
    before, after = found[0]._replace(name=BEGINNING), found[1]._replace(name=TRAINED)
    compared = Compared(before, after, beir.read_qrels("data/collection", "test"), seed())
    measured = read_json("metrics/compare.json")["systems"]
    for side in (before, after):
        mean = measured[side.name][HEADLINE]["mean"]
        if abs(compared.interval(side).mean - mean) > SAME:
            raise InputError("metrics/compare.json: not of the runs in data/runs; run `dvc repro`")
    return compared


def two_sides(before: str, after: str) -> Compared:
    found = [sides.read(name, "test", TRAINED) for name in (before, after)]
    for side in found:
        sides.require_this_collection(side, "test")
    if before == after:
        raise InputError(f"{before}: the same side twice; name two")
    return Compared(found[0], found[1], beir.read_qrels("data/collection", "test"), seed())


def seed() -> int:
    return load_settings("params.yaml").seed


def unhelpful(side: str) -> Iterator[str]:
    """What training did not do."""
    if said := report.unhelpful(sides.training(side)):
        yield said if side == sides.WORKSPACE else f"{side}: {said}"


def question(names: list[str], topics: int, collection: str) -> str:
    asked = "Are they different" if names else "Does training help"
    judged = "test topics with human judgments" if collection in HUMAN else "judged test topics"
    return f"{asked}? {topics} {judged}, of {collection}."


def answer(compared: Compared) -> str:
    """In a sentence, with interval and p value."""
    before, after = compared.interval(compared.before), compared.interval(compared.after)
    test, gain = compared.test, compared.gain
    verb = "has" if compared.significant else "has, within chance,"
    return (
        f"{compared.after.name} {verb} {HEADLINE} {after.mean:.3f} and {compared.before.name} "
        f"{before.mean:.3f}: {test.difference:+.3f} (95 % interval {gain.low:+.3f} to "
        f"{gain.high:+.3f}, p = {test.p_randomization:.4f} by a paired randomization test); "
        f"{test.wins} topics are better, {test.ties} equal and {test.losses} worse."
    )


def of_systems() -> list[tuple[str, Chart]]:
    return [
        (f"{HEADLINE} by system", report_charts.intervals(HEADLINE)),
        ("Recall by depth", report_charts.recall()),
        ("Precision against recall", report_charts.precision()),
    ]


def of_training() -> list[tuple[str, Chart]]:
    return [
        (f"{name}, {which} round", chart)
        for which, suffix in (("first", ""), ("second", "_second"))
        for name, chart in report_charts.training(suffix)
    ]
