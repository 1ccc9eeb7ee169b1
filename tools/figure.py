"""Draw docs/systems.svg: the systems' headline measure with its intervals.

Reads metrics/compare.json.

    python -m tools.figure
"""

from pathlib import Path

from dpr.base.files import new_file, read_json
from dpr.measures import HEADLINE
from stages.run import parser, told_in_one_line
from tools.report_charts import COLOURS
from tools.report_page import PAGES

FIGURE = Path("docs/systems.svg")
METRICS = "metrics/compare.json"
LEFT, WIDTH, ROW, STEP = 90, 520, 34, 0.05  # pixels; the last between the lines of the axis


def main() -> None:
    with new_file(FIGURE) as file:
        file.write(drawn())
    print(f"{FIGURE}: drawn from {METRICS}")


def drawn() -> str:
    """The SVG: a dot and a line each, the best system first."""
    measured = {
        system: values[HEADLINE] for system, values in read_json(METRICS)["systems"].items()
    }
    order = sorted(measured, key=lambda system: -measured[system]["mean"])
    first = int(min(value["low"] for value in measured.values()) / STEP) * STEP
    last = (int(max(value["high"] for value in measured.values()) / STEP) + 1) * STEP

    def x(value: float) -> float:
        return round(LEFT + WIDTH * (value - first) / (last - first), 1)

    rows = [
        {
            "name": system,
            "y": ROW * (place + 1),
            "colour": COLOURS[system],
            "mean": f"{measured[system]['mean']:.3f}",
            **{f"x_{key}": x(measured[system][key]) for key in ("mean", "low", "high")},
        }
        for place, system in enumerate(order)
    ]
    count = round((last - first) / STEP) + 1
    lines = [(f"{first + STEP * i:.2f}", x(first + STEP * i)) for i in range(count)]
    return PAGES.get_template("systems.svg").render(
        rows=rows,
        lines=lines,
        measure=HEADLINE,
        width=LEFT + WIDTH + 30,
        middle=LEFT + WIDTH / 2,
        bottom=ROW * (len(rows) + 0.7),
        height=round(ROW * (len(rows) + 2.1)),
    )


if __name__ == "__main__":
    parser("tools.figure", __doc__).parse_args()
    with told_in_one_line("figure"):
        main()
