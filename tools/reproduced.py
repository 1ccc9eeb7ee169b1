"""Write docs/reproduced.md: figures here, published figures, and the commands to compare them.

Reads expected.yaml and params.yaml. A published figure that no run here has checked is shown as
"not run here".

    python -m tools.reproduced
"""

from collections.abc import Iterator
from pathlib import Path

from dpr.evaluation.markdown_tables import table
from dpr.measures import PRIMARY_MEASURE
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import PAGES, verify

PAGE = Path("docs/reproduced.md")
HEADER = ["collection", "system", "model", "here", "published", "within", "source", "command"]


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE}: written")


def page() -> str:
    sources = list(dict.fromkeys(rows["source"] for rows in verify.expected().values()))
    rows = table(HEADER, cells(sources))
    template = PAGES.get_template("reproduced.md")
    return template.render(measure=PRIMARY_MEASURE, table=rows, sources=sources) + "\n"


def cells(sources: list[str]) -> Iterator[list[str]]:
    """A row for each system of expected.yaml; `source` is a number from 1."""
    default = load_settings("params.yaml").model.name
    for name, rows in verify.expected().items():
        collection = name.partition("/")[0]
        model = rows.get("set", {}).get("model.name", default).rpartition("/")[2]
        command = "python -m tools.verify"
        if name != verify.DEFAULT:
            command += f" beir:/PATH/{collection} {name}"
        for system, values in rows["systems"].items():
            value = f"{values[PRIMARY_MEASURE]:.4f}"
            here = f"{values['here']:.4f}" if "here" in values else "not run here"
            yield [
                *(collection, system, "" if system == "bm25" else model),
                *((here, value) if rows.get("published") else (value, "")),
                *(str(values["within"]), str(1 + sources.index(rows["source"])), f"`{command}`"),
            ]


if __name__ == "__main__":
    parser("tools.reproduced", __doc__).parse_args()
    with one_line_errors("reproduced"):
        main()
