"""The charts of the report and of docs/figures, in Vega-Lite.

To add a chart to the report, add an entry to plots/dvc.yaml. The report shows every plot that
`dvc plots show` shows, from the same templates (.dvc/plots). Only the gains by topic are drawn
here, since they depend on the two sides that a report compares.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import new_file
from dpr.measures import PRIMARY_MEASURE

FIGURES, WIDTH = Path("docs/figures"), 560  # pixels
SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}
Chart = dict[str, Any]


def of_dvc(sides: Sequence[str] = ()) -> dict[str, Chart]:
    """{file or name of the plot: chart} of the workspace, or with two sides in each chart.

    The curves of a training round that did not run are left out: they end at step 0.
    """
    command = ["plots", "diff", *sides] if sides else ["plots", "show"]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command, "--json"], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"`dvc {' '.join(command)}` failed: {done.stderr.strip()}")
    hook = None if sides else _without_legend_of_revisions
    plots = json.loads(done.stdout, object_hook=hook)["data"]
    # "plots/dvc.yaml::plots/recall.csv" -> "recall.csv"
    charts = {re.split("::|/", name)[-1]: plot["content"] for name, (plot, *_) in plots.items()}
    return {name: c for name, c in charts.items() if {r.get("step") for r in _rows(c)} != {"0"}}


def gains(by_topic: Iterable[tuple[str, float]], measure: str) -> Chart:
    """A bar for each (topic, gain), in this order."""
    rows = [{"place": n, "topic": topic, "gain": gain} for n, (topic, gain) in enumerate(by_topic)]
    hidden = {"labels": False, "ticks": False}
    sign = {"condition": {"test": "datum.gain < 0", "value": "#d55e00"}, "value": "#0072b2"}
    x = {"field": "place", "type": "ordinal", "title": "topics, by their gain", "axis": hidden}
    y = {"field": "gain", "type": "quantitative", "title": f"gain in {measure}"}
    tooltip = [{"field": "topic"}, {"field": "gain", "format": ".4~f"}]
    return {
        "title": "Gain by topic",
        "data": {"values": rows},
        "mark": "bar",
        "encoding": {"x": x, "y": y, "color": sign, "tooltip": tooltip},
    }


def for_page(chart: Chart) -> tuple[str, Chart]:
    """The title of a chart, and the chart itself as wide as its place on the page."""
    title = chart["title"]
    size = {"width": "container", "height": 260, "autosize": {"type": "fit", "contains": "padding"}}
    fitting = chart if "facet" in chart else chart | size
    return title["text"] if isinstance(title, dict) else title, fitting | SCHEMA | {"title": None}


def draw_figures() -> list[Path]:
    """Draw docs/figures/*.svg from plots/*.csv."""
    paths = []
    for name, svg in figures().items():
        paths.append(FIGURES / f"{name}.svg")
        with new_file(paths[-1]) as file:
            file.write(svg)
    return paths


def figures() -> dict[str, str]:
    """{name: SVG}, on white, since GitHub has a dark theme too."""
    import vl_convert  # loads slowly

    charts = of_dvc()
    systems, topics = charts["systems.csv"], _rows(charts["topics.csv"])
    systems["data"]["values"] = [r for r in _rows(systems) if r["measure"] == PRIMARY_MEASURE]
    systems["spec"] |= {"width": WIDTH - 80}
    gained = [(row["query"], float(row["dense"]) - float(row["zero_shot"])) for row in topics]
    drawn = {
        "systems": systems,
        "recall": charts["recall.csv"] | {"width": WIDTH},
        "topics": gains(sorted(gained, key=lambda t: -t[1]), PRIMARY_MEASURE) | {"width": WIDTH},
    }
    losses = [charts[name] for name in ("loss", "loss_second") if name in charts]
    validations = [charts[name] for name in ("valid.csv", "valid_second.csv") if name in charts]
    if losses:
        both = [chart | {"width": WIDTH // 2 - 30} for chart in (losses[0], validations[-1])]
        drawn["training"] = {"hconcat": both}
    paper = SCHEMA | {"background": "white", "padding": 10}
    return {name: vl_convert.vegalite_to_svg(chart | paper) for name, chart in drawn.items()}


def _without_legend_of_revisions(part: dict[str, Any]) -> dict[str, Any]:
    return part | {"legend": None} if part.get("title") == "revision" else part


def _rows(chart: Chart) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = chart["data"]["values"]
    return rows
