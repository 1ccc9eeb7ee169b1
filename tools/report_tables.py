"""The tables of the report, README and model card."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from dvc.utils.flatten import flatten
from ruamel.yaml import YAML

from dpr.base.files import read_json
from dpr.evaluation.markdown_tables import table
from dpr.measures import PRIMARY_MEASURE
from dpr.records.types import ENCODERS
from dpr.settings import load_settings
from tools import costs, sides

COMPARED = Path("metrics/compare.json")


class Table(NamedTuple):
    """A table with its heading."""

    name: str
    header: list[str]
    rows: list[list[str]]

    @property
    def markdown(self) -> str:
        return table(self.header, self.rows)


def systems(compared: dict[str, Any], measures: list[str]) -> Table:
    """The mean of each system and measure, with its 95 % interval."""
    rows = [
        [system, *("{mean:.3f} [{low:.3f}, {high:.3f}]".format(**means[m]) for m in measures)]
        for system, means in compared["systems"].items()
    ]
    return Table("Systems: means with 95 % intervals", ["system", *measures], rows)


def tests(compared: dict[str, Any]) -> Table:
    """Tests of each system against each reference in the primary measure."""
    rows = []
    for reference, by_system in compared["against"].items():
        for system, by_measure in by_system.items():
            test = by_measure[PRIMARY_MEASURE]
            row = [f"{system} - {reference}", f"{test['difference']:+.4f}"]
            row.append(f"{test['wins']} / {test['ties']} / {test['losses']}")
            row += [f"{test[key]:.4f}" for key in ("p_randomization", "p_t", "p_holm")]
            rows.append(row)
    header = [PRIMARY_MEASURE, "difference", "wins / ties / losses"]
    header += ["p randomization", "p t-test", "p Holm"]
    return Table(f"Tests of {PRIMARY_MEASURE}", header, rows)


def results() -> list[Table]:
    """The measures of all systems in the workspace, and their tests."""
    compared = read_json(COMPARED)
    return [systems(compared, load_settings("params.yaml").eval.measures), tests(compared)]


def changed(names: list[str]) -> list[Table]:
    """The parameters that differ between two sides, and the measures of both."""
    before, after = (_flat(name, "params.yaml") for name in names)
    parameters = [
        [key, str(before.get(key, "-")), str(after.get(key, "-"))]
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    before, after = (_flat(name, "metrics/eval.json") for name in names)
    measures = [
        [key, f"{before[key]:.4f}", f"{after[key]:.4f}", f"{after[key] - before[key]:+.4f}"]
        for key in before
        if key in after
    ]
    return [
        Table("Parameters that differ", ["parameter", *names], parameters),
        Table("Measures", ["measure", *names, "difference"], measures),
    ]


def lengths(side: str) -> Table:
    keys = ["count", "mean", "p50", "p99", "max", "limit"]
    rows = [
        [name.replace("_", " "), *(f"{of[k]:,.0f}" for k in keys), f"{of['truncated']:.1%}"]
        for name, of in json.loads(sides.text(side, "metrics/lengths.json")).items()
    ]
    name = "Tokens of the texts, and the share that is truncated"
    return Table(name, ["texts", *keys, "truncated"], rows)


def indexes(side: str) -> Table:
    """The results of the stage `audit`."""
    rows = []
    for system, of in json.loads(sides.text(side, "metrics/audit.json")).items():
        row = [system, of["kind"], f"{of['recall@10']:.4f}", f"{of['bytes_per_vector']:,.0f}"]
        least = f"{of['precision']['cosine_to_fp32']['least']:.4f}"
        rows.append([*row, of["precision"]["format"], least])
    header = ["system", "kind", "recall@10", "bytes per vector", "format", "least cosine to fp32"]
    return Table("Indexes against exact search", header, rows)


def workspace() -> list[Table]:
    """Versions and processor of the results in this workspace, and costs of its stages."""
    tables = [Table("Versions and processor", ["made with"], [[line] for line in made_with()])]
    if costs.in_workspace():
        tables.append(Table("Costs in this workspace", *costs.last()))
    return tables


def made_with() -> list[str]:
    """Formats and versions of encoders and vectors in this workspace, and the processors."""
    lines, formats = [], {}
    for system in ENCODERS:
        encoder = Path(f"data/encoders/{system}/made_with.json")
        embeddings = Path(f"data/embeddings/{system}/manifest.json")
        if encoder.exists() and embeddings.exists():
            trained, encoded = read_json(encoder), read_json(embeddings)
            formats[system] = encoded["format"]
            versions = ", ".join(f"{k} {v}" for k, v in encoded.get("versions", {}).items())
            weights = f"weights {trained['format']}, passages {encoded['format']}"
            lines.append(f"{system}: {weights}; {versions}")
    if len(set(formats.values())) > 1:
        lines.append(f"note: different number formats ({formats}) explain part of a difference")
    if processors := dict.fromkeys(row["processor"] for row in costs.in_workspace()):
        lines.append(f"run on: {'; '.join(processors)}")
    return lines


def _flat(side: str, path: str) -> dict[str, Any]:
    """{"train.lr": 5e-5} of a YAML or JSON file with nested groups."""
    values: dict[str, Any] = flatten(YAML(typ="safe", pure=True).load(sides.text(side, path)))
    return values
