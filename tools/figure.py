"""Draw the figures of README and docs, docs/figures/*.svg, with the report's charts.

Reads plots/*.csv, if DVC says that they are of this code and these parameters. Makes docs/figures.

    python -m tools.figure
"""

from pathlib import Path
from typing import Any

import vl_convert

from dpr.base.files import new_file
from dpr.measures import HEADLINE
from stages.run import one_line_errors, parser
from tools import current, report_charts
from tools.report_charts import Chart

FOLDER = Path("docs/figures")
WIDTH = 560  # pixels


def main() -> None:
    current.require("compare")
    figures = drawn()
    for name, svg in figures.items():
        with new_file(FOLDER / f"{name}.svg") as file:
            file.write(svg)
    print(f"{FOLDER}: {', '.join(figures)}, drawn from plots/")


def drawn() -> dict[str, str]:
    """{name: SVG}."""
    charts = {
        "systems": report_charts.intervals(HEADLINE),
        "recall": report_charts.recall(),
        "topics": report_charts.gains(report_charts.topics("zero_shot", "dense"), HEADLINE),
    }
    if trained := curves():
        charts["training"] = {"hconcat": trained}
    return {name: vl_convert.vegalite_to_svg(on_paper(chart)) for name, chart in charts.items()}


def curves() -> list[Chart]:
    """The loss of the first round that was run, and what the last does to the validation topics."""
    rounds = {"first": report_charts.training(""), "second": report_charts.training("_second")}
    run = [(name, charts) for name, charts in rounds.items() if charts]
    if not run:
        return []
    (first, ((loss_name, loss), _)), (last, (_, (measure, validation))) = run[0], run[-1]
    loss, validation = (
        chart | {"title": f"{title}, {name} round"}
        for chart, title, name in ((loss, loss_name, first), (validation, measure, last))
    )
    return [loss, validation]


def on_paper(chart: Chart) -> dict[str, Any]:
    """White, since GitHub shows pages in the dark too, and as wide as a column."""
    if "hconcat" in chart:
        both = [on_paper(part) | {"width": WIDTH // 2 - 30} for part in chart["hconcat"]]
        schema = both[0]["$schema"]
        return {"$schema": schema, "background": "white", "padding": 10, "hconcat": both}
    return chart | {"width": WIDTH, "autosize": "pad", "background": "white", "padding": 10}


if __name__ == "__main__":
    parser("tools.figure", __doc__).parse_args()
    with one_line_errors("figure"):
        main()
