"""Print the measures of all systems and their tests, and write report.html and report.md.

Reads metrics, plots, runs and data/collection and, to say what made the systems, encoders,
embeddings and the log of costs if they are here. With two sides (revisions, experiments or
`workspace`) the report compares their `dense`. The page needs no network and no other file.
`--readme` writes the tables to README.md, between their markers. Figures of earlier code or
parameters are named as such, and not written to README.md.

    python -m tools.report
    python -m tools.report HEAD NAME
    python -m tools.report --readme
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_file, read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.records.types import ENCODERS
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import costs, current, report_contents, report_page

README, PAGE, MARKDOWN = Path("README.md"), Path("report.html"), Path("report.md")
BEGIN, END = "<!-- made by `python -m tools.report --readme` -->", "<!-- end -->"


def main(readme: bool = False, sides: Sequence[str] = ()) -> None:
    if readme:
        current.require("compare")
        write_readme(made_tables())
        return
    about = report_contents.gather(list(sides), list(made_with()))
    report_page.write(PAGE, "report.html", about)
    report_page.write(MARKDOWN, "report.md", about)
    if not sides:
        print(made_tables(), end="\n\n")
        print("\n".join(made_with()), file=sys.stderr)
    print("\n".join([about["answer"], *about["notes"]]))
    print(f"{PAGE.resolve().as_uri()}")


def made_tables() -> str:
    settings = load_settings("params.yaml")
    compared = read_json("metrics/compare.json")
    measured = report.systems_table(compared, settings.eval.measures)
    return f"{measured}\n\n{report.tests_table(compared, HEADLINE)}"


def write_readme(tables: str) -> None:
    text = README.read_text(encoding="utf-8")
    block = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not block.search(text):
        raise InputError(f"{README}: no {BEGIN} ... {END} to put the tables in")
    with new_file(README) as file:
        file.write(block.sub(lambda _: f"{BEGIN}\n{tables}\n{END}", text))


def made_with() -> Iterator[str]:
    """What made the encoders and vectors that lie here, a line each."""
    encoded = {}
    for system in ENCODERS:
        encoder = Path("data/encoders") / system / "made_with.json"
        embeddings = Path("data/embeddings") / system / "manifest.json"
        if encoder.exists() and embeddings.exists():
            trained, made = read_json(encoder), read_json(embeddings)
            encoded[system] = made["format"]
            versions = ", ".join(f"{k} {v}" for k, v in made.get("versions", {}).items())
            yield f"{system}: weights {trained['format']}, passages {made['format']}; {versions}"
    if len(set(encoded.values())) > 1:
        yield f"note: other number formats ({encoded}): part of a difference may be the format's"
    if rows := costs.here():
        processors = dict.fromkeys(row["processor"] for row in rows)
        yield f"run on: {'; '.join(processors)}"


if __name__ == "__main__":
    arguments = parser("tools.report", __doc__)
    arguments.add_argument("sides", nargs="*", metavar="SIDE", help="two to compare, or none")
    arguments.add_argument("--readme", action="store_true", help="write the tables to README.md")
    chosen = arguments.parse_args()
    if len(chosen.sides) not in (0, 2):
        arguments.error("give two sides, or none")
    with one_line_errors("report"):
        main(chosen.readme, chosen.sides)
