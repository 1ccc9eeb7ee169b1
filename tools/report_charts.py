"""The charts of the report and of docs/figures, in Vega-Lite.

The report shows every plot of `dvc plots show`: a new entry in plots/dvc.yaml is a new chart. Only
the gains by topic are drawn here, because they depend on the two sides of a report.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from dpr.base.errors import InputError
from dpr.measures import PRIMARY_MEASURE

WIDTH = 560  # of a figure, in pixels
SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}
Chart = dict[str, Any]


def of_dvc(sides: Sequence[str] = ()) -> dict[str, Chart]:
    """{file or name of the plot: chart}, of the workspace or of two sides.

    A training round that did not run has no chart: its curves end at step 0.
    """
    command = ["dvc", "plots", "diff", *sides] if sides else ["dvc", "plots", "show"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--json"], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    hook = None if sides else _without_legend_of_revisions
    plots = json.loads(done.stdout, object_hook=hook)["data"]
    # "plots/dvc.yaml::plots/recall.csv" -> "recall.csv"
    charts = {re.split("::|/", name)[-1]: plot["content"] for name, (plot, *_) in plots.items()}
    return {name: c for name, c in charts.items() if {r.get("step") for r in _rows(c)} != {"0"}}


def gains(by_topic: Iterable[tuple[str, float]], measure: str) -> Chart:
    """A bar for each (topic, gain), in this order."""
    rows = [{"place": n, "topic": topic, "gain": gain} for n, (topic, gain) in enumerate(by_topic)]
    hidden = {"labels": False, "ticks": False}
    x = {"field": "place", "type": "ordinal", "title": "topics, by their gain", "axis": hidden}
    encoding = {
        "x": x,
        "y": {"field": "gain", "type": "quantitative", "title": f"gain in {measure}"},
        "color": {"condition": {"test": "datum.gain < 0", "value": "#d55e00"}, "value": "#0072b2"},
        "tooltip": [{"field": "topic"}, {"field": "gain", "format": ".4~f"}],
    }
    data = {"values": rows}
    return {"title": "Gain by topic", "data": data, "mark": "bar", "encoding": encoding}


def for_page(chart: Chart) -> tuple[str, Chart]:
    """The title of a chart, and the chart without it, as wide as its place on the page."""
    title = chart["title"]
    size = {"width": "container", "height": 260, "autosize": {"type": "fit", "contains": "padding"}}
    fitting = chart if "facet" in chart else chart | size
    return title["text"] if isinstance(title, dict) else title, fitting | SCHEMA | {"title": None}


def figures() -> dict[str, str]:
    """{name: SVG} of docs/figures, on white, because GitHub also has a dark theme."""
    try:
        import vl_convert  # loads slowly
    except ImportError:
        raise InputError(
            "vl-convert-python draws the figures and is not installed: "
            "python tools/install.py requirements-test.txt"
        ) from None

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
