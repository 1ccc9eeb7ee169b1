"""What the report says: its answer, tables, charts and topics."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.records import beir
from dpr.settings import load_settings
from stages.run import COSTS
from tools import costs, report_charts, report_page, sides
from tools.report_charts import Chart
from tools.report_page import Compared

BEGINNING, TRAINED = "zero_shot", "dense"


@dataclass(frozen=True)
class Table:
    name: str
    header: list[str]
    rows: list[list[str]]

    @property
    def markdown(self) -> str:
        return report.table(self.header, self.rows)


def gather(names: list[str], made_with: list[str]) -> dict[str, Any]:
    """All that the templates ask for; of two sides, or of the encoder before and after training."""
    compared = two_sides(*names) if names else before_and_after()
    moved = compared.moved()
    name = read_json("data/manifest.json")["collection"]["name"]
    about: dict[str, Any] = {
        "title": f"{compared.after.name} against {compared.before.name} on {name}",
        "question": question(names, len(compared.qrels), name),
        "answer": answer(compared),
        "tables": differences(compared, names) if names else results(),
        "charts": [("Gain by topic", report_charts.gains(compared.gains(), HEADLINE))],
        "moved": [
            ("won", "Topics that won most", moved["won"]),
            ("lost", "Topics that lost most", moved["lost"]),
        ],
        "details": [*properties(made_with)],
        "params": Path("params.yaml").read_text(encoding="utf-8"),
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
    return Compared(before, after, beir.read_qrels("data/collection", "test"), seed())


def two_sides(before: str, after: str) -> Compared:
    found = [sides.read(name, "test", TRAINED) for name in (before, after)]
    for side in found:
        sides.require_this_collection(side, "test")
    if before == after:
        raise InputError(f"{before}: the same side twice; name two")
    return Compared(found[0], found[1], beir.read_qrels("data/collection", "test"), seed())


def seed() -> int:
    return load_settings("params.yaml").seed


def question(names: list[str], topics: int, collection: str) -> str:
    asked = "Are they different" if names else "Does training help"
    return f"{asked}? {topics} test topics of {collection}, each with human judgments."


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


def results() -> list[Table]:
    """The measures of all systems, and their tests."""
    compared, measures = (
        read_json("metrics/compare.json"),
        load_settings("params.yaml").eval.measures,
    )
    rows = [
        [
            system,
            *(report.interval(of[measure]) for measure in measures),
        ]
        for system, of in compared["systems"].items()
    ]
    tests = [
        [
            f"{system} - {reference}",
            f"{row[HEADLINE]['difference']:+.4f}",
            f"{row[HEADLINE]['wins']} / {row[HEADLINE]['ties']} / {row[HEADLINE]['losses']}",
            *(f"{row[HEADLINE][key]:.4f}" for key in ("p_randomization", "p_holm")),
        ]
        for reference, systems in compared["against"].items()
        for system, row in systems.items()
    ]
    return [
        Table("Systems: means with 95 % intervals", ["system", *measures], rows),
        Table(
            f"Tests of {HEADLINE}",
            ["systems", "difference", "wins / ties / losses", "p", "p, corrected (Holm)"],
            tests,
        ),
    ]


def differences(compared: Compared, names: list[str]) -> list[Table]:
    """What was changed, and what it did to the measures."""
    params, metrics = (
        [flat(YAML(typ="safe", pure=True).load(sides.text(name, path))) for name in names]
        for path in ("params.yaml", "metrics/eval.json")
    )
    changed = [
        [key, *(str(side.get(key, "-")) for side in params)]
        for key in dict.fromkeys([*params[0], *params[1]])
        if params[0].get(key) != params[1].get(key)
    ]
    moved = [
        [
            key,
            *(f"{side[key]:.4f}" for side in metrics),
            f"{metrics[1][key] - metrics[0][key]:+.4f}",
        ]
        for key in metrics[0]
        if key in metrics[1]
    ]
    return [
        Table("Parameters that differ", ["parameter", *names], changed),
        Table("Measures", ["measure", *names, "difference"], moved),
    ]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train.lr": 5e-5} of nested groups."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inside = (
            flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
        found |= inside
    return found


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


def properties(made_with: list[str]) -> list[Table]:
    """Texts, indexes, costs, and what made them."""
    lengths = read_json("metrics/lengths.json")
    audit = read_json("metrics/audit.json")
    keys = ["count", "mean", "p50", "p99", "max", "limit"]
    tables = [
        Table(
            "Tokens of the texts, and the share that is truncated",
            ["texts", *keys, "truncated"],
            [
                [name.replace("_", " "), *(f"{of[k]:,.0f}" for k in keys), f"{of['truncated']:.1%}"]
                for name, of in lengths.items()
            ],
        ),
        Table(
            "Indexes against exact search",
            ["system", "kind", "recall@10", "bytes a vector", "format", "cosine to fp32, least"],
            [
                [
                    *(
                        system,
                        of["kind"],
                        f"{of['recall@10']:.4f}",
                        f"{of['bytes_per_vector']:,.0f}",
                    ),
                    *(
                        of["precision"]["format"],
                        f"{of['precision']['cosine_to_fp32']['least']:.4f}",
                    ),
                ]
                for system, of in audit.items()
            ],
        ),
        Table("Versions and processor", ["made by"], [[line] for line in made_with]),
    ]
    if COSTS.exists():
        tables.append(Table("Costs on this machine", *costs.last()))
    return tables
