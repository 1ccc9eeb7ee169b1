"""The charts of the report, in Vega-Lite. A system has the same colour everywhere."""

import csv
from pathlib import Path
from typing import Any

from dpr.records.types import SYSTEMS

# Okabe and Ito's colours, which colour-blind people tell apart.
COLOURS = dict(zip(SYSTEMS, ("#7f7f7f", "#56b4e9", "#0072b2", "#cc79a7", "#d55e00"), strict=True))
SCALE = {"domain": list(COLOURS), "range": list(COLOURS.values())}
TEXTS = {"query", "topic", "system", "measure", "setting"}  # columns of text, even "1984"
Chart = dict[str, Any]


def rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a plot's CSV, with numbers as numbers; none without the file."""
    if not Path(path).exists():
        return []
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [
            {k: v if k in TEXTS else _value(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def intervals(measure: str) -> Chart:
    """Means of the systems with their 95 % intervals."""
    values = [row for row in rows("plots/systems.csv") if row["measure"] == measure]
    order = sorted(values, key=lambda row: -row["mean"])
    names = [row["system"] for row in order]
    y = _field("system", "nominal", None, sort=names, scale={"padding": 0.8})
    x: Chart = {"title": f"{measure}, mean and 95 % interval over the test topics"}
    x |= {"type": "quantitative", "scale": {"zero": False}}
    colour = _field("system", "nominal", None, scale=SCALE, legend=None)
    return _chart(
        values,
        height=50 + 30 * len(values),
        encoding={"y": y, "color": colour},
        layer=[
            {
                "mark": {"type": "rule", "strokeWidth": 3},
                "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                "encoding": {"x": x | {"field": "mean"}, "tooltip": _tips("system", "mean")},
            },
            {
                "mark": {"type": "text", "dy": -11, "fontSize": 11},
                "encoding": {
                    "x": x | {"field": "mean"},
                    "text": {"field": "mean", "format": ".3f"},
                },
            },
        ],
    )


def recall() -> Chart:
    """Recall by depth, a line each system."""
    depth = _field("depth", "quantitative", "passages looked at", scale={"type": "log"})
    return _lines(rows("plots/recall.csv"), depth, _field("recall", "quantitative", "recall"))


def precision() -> Chart:
    return _lines(
        rows("plots/precision.csv"),
        _field("recall", "quantitative", "recall"),
        _field("precision", "quantitative", "interpolated precision"),
    )


def training(suffix: str) -> list[tuple[str, Chart]]:
    """Loss by step, and the measure of the validation topics."""
    steps, validations = rows(f"plots/train{suffix}.csv"), rows(f"plots/valid{suffix}.csv")
    if len(steps) < 2:
        return []
    both = [{"of": "training", **row} for row in steps]
    both += [{"of": "validation", **row} for row in validations]
    step = _field("step", "quantitative", "step")
    of = _field("of", "nominal", None, scale={"range": ["#0072b2", "#d55e00"]}, legend=BOTTOM)
    tips = _tips("of", "step", "loss")
    loss = {"x": step, "y": _field("loss", "quantitative", "loss"), "color": of, "tooltip": tips}
    measure = next(name for name in validations[0] if name not in ("step", "loss"))
    y = _field(measure, "quantitative", f"{measure}, validation topics", scale={"zero": False})
    line = {"type": "line", "point": True, "color": "#0072b2"}
    return [
        ("Loss", _chart(both, mark={"type": "line", "opacity": 0.9}, encoding=loss)),
        (f"Validation {measure}", _chart(validations, mark=line, encoding={"x": step, "y": y})),
    ]


def gains(values: list[dict[str, Any]], measure: str) -> Chart:
    """A bar for each topic, the greatest gain first."""
    sign = {"condition": {"test": "datum.gain < 0", "value": "#d55e00"}, "value": "#0072b2"}
    x = _field("place", "ordinal", "topics, by their gain", axis=BARE)
    y = _field("gain", "quantitative", f"gain in {measure}")
    encoding = {"x": x, "y": y, "color": sign, "tooltip": _tips("topic", "gain")}
    return _chart(values, mark="bar", encoding=encoding)


def topics(before: str, after: str) -> list[dict[str, Any]]:
    """The gain of one system over another by topic, the greatest first."""
    values = rows("plots/compare_topics.csv")
    gained = sorted(((row[after] - row[before], row["query"]) for row in values), reverse=True)
    return [{"place": n, "topic": text, "gain": gain} for n, (gain, text) in enumerate(gained)]


BOTTOM = {"orient": "bottom", "title": None}
BARE = {"labels": False, "ticks": False}


def _lines(values: list[dict[str, Any]], x: Chart, y: Chart) -> Chart:
    colour = _field("system", "nominal", None, scale=SCALE, legend=BOTTOM)
    tips = _tips("system", x["field"], y["field"])
    encoding = {"x": x, "y": y, "color": colour, "tooltip": tips}
    return _chart(values, mark={"type": "line", "point": True}, encoding=encoding)


def _chart(values: list[dict[str, Any]], **parts: Any) -> Chart:
    schema = "https://vega.github.io/schema/vega-lite/v6.json"
    return {
        "$schema": schema,
        "width": "container",
        "height": 260,
        "autosize": {"type": "fit", "contains": "padding"},
        "data": {"values": values},
    } | parts


def _field(name: str, kind: str, title: str | None, **others: Any) -> Chart:
    field = name.replace(".", "\\.")
    return {"field": field, "type": kind, "title": title, **others}


def _tips(*names: str) -> list[Chart]:
    return [
        {"field": name, "format": ".4~f"} if name in NUMBERS else {"field": name} for name in names
    ]


NUMBERS = {"mean", "gain", "loss", "recall", "precision"}


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
