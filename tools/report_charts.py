"""The charts of the report and of papers, in Vega-Lite.

The report shows every plot of `dvc plots show`: a new entry in plots/dvc.yaml is a new chart. Only
the gains by topic are drawn here, because they depend on the two sides of a report.
"""

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from dpr.base.errors import InputError
from dpr.measures import PRIMARY_MEASURE
from dpr.settings import ROUNDS, load_settings
from stages import rounds

SCHEMA = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json"}
FIGURES = ("systems", "recall", "precision", "topics", "training")
IN_DOCS = ("systems", "recall", "topics", "training")
FORMATS = ("svg", "pdf", "png")
# Figures fit a column of 240 points (3.3 inches), where a font of 16 pixels has 9 points.
WIDTH, COLUMN, PPI = 420, 240, 300
SIZES = {"labelFontSize": 16, "titleFontSize": 16, "titleFontWeight": "normal"}
CONFIG = {
    "font": "Liberation Sans, Arial, sans-serif",
    "axis": SIZES
    | {"labelColor": "black", "titleColor": "black", "titlePadding": 8, "labelLimit": 150},
    "axisX": {"labelOverlap": True, "labelSeparation": 8},
    "legend": SIZES | {"orient": "bottom", "labelLimit": WIDTH},
    "title": {"fontSize": 16, "fontWeight": "normal"},
    "text": {"fontSize": 16},
}
PAPER = SCHEMA | {"background": "white", "padding": 4, "config": CONFIG}
DASHES = [[1, 0], [8, 3], [2, 2], [8, 3, 2, 3], [5, 5], [12, 3], [2, 5], [12, 3, 2, 3], [5, 2], [4]]
Chart = dict[str, Any]


def of_dvc(sides: Sequence[str] = ()) -> dict[str, Chart]:
    """{file or name of the plot: chart}, of the workspace or of two sides.

    Charts without data are left out, and legends name what differs, as .dvc/plots.html does it for
    `dvc plots show`.
    """
    command = ["dvc", "plots", "diff", *sides] if sides else ["dvc", "plots", "show"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--json"], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    plots = json.loads(done.stdout)["data"]
    # "plots/dvc.yaml::plots/recall.csv" -> "recall.csv"
    charts = {re.split("::|/", name)[-1]: plot["content"] for name, (plot, *_) in plots.items()}
    for chart in charts.values():
        _name_in_legends(chart)
    return {name: chart for name, chart in charts.items() if not _is_empty(chart)}


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
    chart = {"title": "Gain by topic", "height": 240, "data": data, "mark": "bar"}
    return chart | {"encoding": encoding}


def for_page(chart: Chart) -> tuple[str, Chart]:
    """The title of a chart, and the chart without it; the page's script fits it to its place."""
    title = chart["title"]
    return title["text"] if isinstance(title, dict) else title, chart | SCHEMA | {"title": None}


def figures() -> dict[str, str]:
    """{name: SVG} of docs/figures."""
    return {name: draw(c, "svg").decode() for name, c in for_paper().items() if name in IN_DOCS}


def for_paper() -> dict[str, Chart]:
    """{name: chart} of FIGURES, each as wide as a column; those without data are left out."""
    charts = of_dvc()
    drawn = {
        "systems": _systems(charts),
        "recall": _curves(charts, "recall.csv"),
        "precision": _curves(charts, "precision.csv"),
        "topics": _topics(charts),
        "training": _training(charts),
    }
    return {name: chart | PAPER for name, chart in drawn.items() if chart}


def draw(chart: Chart, format: str) -> bytes:
    """A chart of `for_paper` as SVG, PDF or PNG. Raises InputError without vl-convert-python."""
    try:
        import vl_convert  # loads slowly
    except ImportError:
        raise InputError(
            "vl-convert-python draws the figures and is not installed: "
            "python tools/install.py requirements-test.txt"
        ) from None

    svg = str(vl_convert.vegalite_to_svg(chart))
    if format == "svg":
        return svg.encode()
    # The width and height of the image; those of its parts come later.
    printed = re.sub(
        r' width="([\d.]+)" height="([\d.]+)"',
        lambda found: f' width="{COLUMN}" height="{float(found[2]) * COLUMN / float(found[1])}"',
        svg,
        count=1,
    )
    if format == "pdf":
        return bytes(vl_convert.svg_to_pdf(printed))
    return bytes(vl_convert.svg_to_png(printed, ppi=PPI))


def _systems(charts: dict[str, Chart]) -> Chart | None:
    """The panel of the primary measure."""
    rows = [r for r in _rows(charts.get("systems.csv")) if r["measure"] == PRIMARY_MEASURE]
    if not rows:
        return None
    panel: Chart = charts["systems.csv"]["spec"]
    panel["height"]["step"] = 38
    panel["layer"][0]["encoding"]["x"]["title"] = [PRIMARY_MEASURE, "mean and 95 % interval"]
    return _in_column(panel | {"data": {"values": rows}})


def _curves(charts: dict[str, Chart], name: str) -> Chart | None:
    """Curves of systems, which also differ in their dashes."""
    if not (chart := charts.get(name)):
        return None
    systems, encoding = _values(chart, "system"), chart["encoding"]
    lines, points = (layer["encoding"] for layer in chart["layer"])
    known = encoding["color"]["scale"]["domain"]["unionWith"]
    domain = list(dict.fromkeys([*known, *systems]))
    legend = {"values": systems, "columns": max(1, WIDTH // (50 + 8 * max(map(len, systems))))}
    for channel in (encoding["color"], points["shape"]):
        channel["scale"]["domain"] = domain
        channel |= {"title": None, "legend": legend}
    dashes = [  # without a scale they stay out of the legend, where they would spoil the shapes
        {"test": f"datum.system === {json.dumps(system)}", "value": dash}
        for system, dash in zip(domain, itertools.cycle(DASHES), strict=False)
    ]
    lines["strokeDash"] = {"condition": dashes, "value": DASHES[0]}
    if "scale" in encoding["x"]:  # logarithmic
        encoding["x"]["axis"] = {"values": [10**power for power in range(8)]}
    return _in_column(chart)


def _topics(charts: dict[str, Chart]) -> Chart | None:
    """The gains of training; without one, all are zero."""
    rows = _rows(charts.get("topics.csv"))
    gained = [(row["query"], float(row["dense"]) - float(row["zero_shot"])) for row in rows]
    if not any(gain for _, gain in gained):
        return None
    chart = gains(sorted(gained, key=lambda t: -t[1]), f"{PRIMARY_MEASURE} over zero_shot")
    return _in_column(chart)


def _training(charts: dict[str, Chart]) -> Chart | None:
    """A row for each round that ran: training loss and validation, over its own pool."""
    settings, rows = load_settings("params.yaml"), []
    for round_name in ROUNDS:
        suffix = rounds.SUFFIX[round_name]
        pool = settings.train_settings(round_name).valid_passages
        ranked = f"{PRIMARY_MEASURE}, {pool or 'all'} passages"
        fields = {"train": ("loss", "training loss"), "valid": (PRIMARY_MEASURE, ranked)}
        panels = []
        for file, (field, title) in fields.items():
            if panel := charts.get(f"{file}{suffix}.csv"):
                panel["encoding"]["y"] |= {"field": field, "title": title}
                panel["layer"][1]["transform"] = [{"filter": "datum.points < 20"}]  # for print
                panels.append(panel | {"title": None, "width": 125, "height": 140})
        if panels:
            rows.append({"title": f"{round_name} round", "hconcat": panels})
    return {"vconcat": rows} if rows else None


def _in_column(chart: Chart) -> Chart:
    fit = {"type": "fit-x", "contains": "padding"}
    return chart | {"title": None, "width": WIDTH, "autosize": fit}


def _is_empty(chart: Chart) -> bool:
    """Curves that have one point per revision: a round that did not run, a flat index."""
    x = chart.get("spec", chart).get("encoding", {}).get("x")
    points = {(row["rev"], row[x["field"]]) for row in _rows(chart)} if x else set()
    return x is not None and len(points) <= len(_values(chart, "rev"))


def _name_in_legends(chart: Chart) -> None:
    """Systems in the order of the data; revisions only if there are several."""
    systems, revisions = _values(chart, "system"), _values(chart, "rev")
    for channel in _channels(chart):
        if channel.get("field") == "system" and channel.get("legend", True):
            channel["legend"] = {"values": systems}
        elif channel.get("field") == "rev":
            channel["scale"] = channel.get("scale", {}) | {"domain": revisions}
            if len(revisions) < 2:
                channel["legend"] = None


def _channels(part: Chart) -> Iterator[dict[str, Any]]:
    """The encodings that have a legend, of a chart, its panels and its layers."""
    names = ("color", "shape", "strokeDash")
    yield from filter(None, map(part.get("encoding", {}).get, names))
    for inner in [*part.get("layer", []), *([part["spec"]] if "spec" in part else [])]:
        yield from _channels(inner)


def _values(chart: Chart, key: str) -> list[str]:
    """The different values of a column, in the order of the rows."""
    return list(dict.fromkeys(row[key] for row in _rows(chart) if key in row))


def _rows(chart: Chart | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = chart["data"]["values"] if chart else []
    return rows
