"""Draw the figures of a paper: one file per figure and format, as wide as a column (3.3 inches).

Reads plots/ and params.yaml. systems: the primary measure with 95 % intervals; recall: by depth;
precision: interpolated, by recall; topics: the gain of dense over zero_shot; training: loss and
validation of each round. A figure without data is left out, unless --only asks for it. Refuses
outdated results.

    python -m tools.figure
    python -m tools.figure --only systems,recall --format pdf,png --out paper
"""

from collections.abc import Sequence
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import unfinished
from stages.run import one_line_errors, parser
from tools import report_charts, sides
from tools.report_charts import FIGURES, FORMATS

OUT = "figures"


def main(out: str, formats: Sequence[str], only: Sequence[str] = ()) -> None:
    """Draw everything, then write `out`/NAME.FORMAT. No `only`: all figures that have data.

    Raises:
        InputError: for an unknown name or format, outdated results, or a figure without data.
            Nothing has been written then.
    """
    _require_known("--format", formats, FORMATS)
    _require_known("--only", only, FIGURES)
    sides.require("compare", "eval")
    charts = report_charts.for_paper()
    if missing := [name for name in only if name not in charts]:
        raise InputError(
            f"--only: {', '.join(missing)}: no data to draw; there is data for "
            f"{', '.join(charts) or 'no figure'}. (`training` and `topics` need a training.)"
        )
    drawn = {
        Path(out) / f"{name}.{format}": report_charts.draw(charts[name], format)
        for name in only or charts
        for format in formats
    }
    for path, content in drawn.items():
        with unfinished(path) as partial:
            partial.write_bytes(content)
        print(path)


def _require_known(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"{option}: {', '.join(unknown)!r}: choose from {', '.join(known)}")


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


if __name__ == "__main__":
    arguments = parser("tools.figure", __doc__)
    arguments.add_argument("--out", default=OUT, metavar="DIR", help=f"default: {OUT}")
    arguments.add_argument(
        "--format", type=_names, default=["svg"], help="of svg,pdf,png; default: svg"
    )
    arguments.add_argument("--only", type=_names, default=[], help=f"of {','.join(FIGURES)}")
    chosen = arguments.parse_args()
    with one_line_errors("figure"):
        main(chosen.out, chosen.format, chosen.only)
