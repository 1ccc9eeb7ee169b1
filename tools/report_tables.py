"""The tables of the report."""

import json
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from dpr.base.files import read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.settings import load_settings
from tools import costs, sides
from tools.report_page import Compared


@dataclass(frozen=True)
class Table:
    name: str
    header: list[str]
    rows: list[list[str]]

    @property
    def markdown(self) -> str:
        return report.table(self.header, self.rows)


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


def properties(side: str, made_with: list[str]) -> list[Table]:
    """Texts and indexes of a side; of the workspace also costs, and what made it."""
    lengths = json.loads(sides.text(side, "metrics/lengths.json"))
    audit = json.loads(sides.text(side, "metrics/audit.json"))
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
    ]
    if side != sides.WORKSPACE:
        return tables
    tables.append(Table("Versions and processor", ["made by"], [[line] for line in made_with]))
    if costs.here():
        tables.append(Table("Costs in this workspace", *costs.last()))
    return tables
