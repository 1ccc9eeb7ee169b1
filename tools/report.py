"""Print the measures of all systems with intervals, and the tests against the references.

Reads metrics/compare.json and, to say what made the systems, encoders, embeddings and the log of
costs if they are here. `--readme` writes the tables to README.md, between their markers.

    python -m tools.report
    python -m tools.report --readme
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dpr.base.errors import InputError
from dpr.base.files import new_file, read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.settings import load_settings
from dpr.systems import ENCODERS
from stages.run import COSTS, parser, told_in_one_line

README = Path("README.md")
BEGIN, END = "<!-- made by `python -m tools.report --readme` -->", "<!-- end -->"


def main(readme: bool) -> None:
    tables = made_tables()
    if readme:
        write_readme(tables)
        return
    print(tables, end="\n\n")
    print("\n".join(made_with()), file=sys.stderr)


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
    if COSTS.exists():
        rows = map(json.loads, COSTS.read_text(encoding="utf-8").splitlines())
        processors = dict.fromkeys(row["processor"] for row in rows if "processor" in row)
        yield f"run on: {'; '.join(processors)}"


if __name__ == "__main__":
    arguments = parser("tools.report", __doc__)
    arguments.add_argument("--readme", action="store_true", help="write the tables to README.md")
    chosen = arguments.parse_args()
    with told_in_one_line("report"):
        main(chosen.readme)
