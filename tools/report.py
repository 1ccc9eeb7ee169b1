"""Print the measures of all systems and their tests, and write report.html and report.md.

Reads metrics, plots, runs and data/collection; if they exist, also encoders, embeddings and costs.
With two sides (revisions, experiments or `workspace`), the report compares the runs of `dense`. The
page is one file and needs no network. `--readme` instead writes README's tables and the images in
docs/figures. The report flags outdated results; `--readme` refuses them.

    python -m tools.report
    python -m tools.report HEAD NAME
    python -m tools.report --readme
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import new_file, read_json
from dpr.evaluation.lengths import truncated_texts
from dpr.evaluation.markdown_tables import ALPHA, no_gain_notes
from dpr.measures import PRIMARY_MEASURE
from dpr.records import beir
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import PAGES, report_charts, report_tables, sides
from tools.compared import Compared

README, FIGURES, VEGA = Path("README.md"), Path("docs/figures"), Path(".dvc/plots.html")
PAGE, MARKDOWN = Path("report.html"), Path("report.md")
BEGIN, END = "<!-- made by `python -m tools.report --readme` -->", "<!-- end -->"
HUMAN = ("medline", "trec-covid")  # collections with human judgments


def main(names: list[str]) -> None:
    """Write the report of the workspace, or of two sides."""
    content = contents(names)
    for path in (PAGE, MARKDOWN):
        with new_file(path) as file:
            file.write(PAGES.get_template(path.name).render(**content))
    if not names:
        print(readme_tables(), end="\n\n")
        print("\n".join(report_tables.made_with()), file=sys.stderr)
    print("\n".join([content["answer"], *content["notes"]]))
    print(PAGE.resolve().as_uri())


def contents(names: list[str]) -> dict[str, Any]:
    """Everything that the templates show, for two sides or for the workspace."""
    collection = read_json("data/manifest.json")["collection"]["name"]
    compared = compare(names)
    shown = names or [sides.WORKSPACE]
    won, lost = compared.moved()
    gains = [(compared.queries[topic].text, gain) for topic, gain in compared.gains.items()]
    charts = [report_charts.gains(gains, PRIMARY_MEASURE), *report_charts.of_dvc(names).values()]
    results = report_tables.changed(names) if names else report_tables.results()
    details = [report_tables.lengths(shown[-1]), report_tables.indexes(shown[-1])]
    if shown[-1] == sides.WORKSPACE:
        details += report_tables.workspace()
    return {
        "title": f"{compared.after.name} against {compared.before.name} on {collection}",
        "question": question(names, len(compared.qrels), collection),
        "answer": answer(compared),
        "notes": [note for name in shown for note in notes(name)],
        "tables": results,
        "charts": [report_charts.for_page(chart) for chart in charts],
        "moved": {"Topics that won most": won, "Topics that lost most": lost},
        "details": details,
        "params": {name: sides.text(name, "params.yaml") for name in shown},
        "command": " ".join(["python -m tools.report", *names]),
        "vega": vega(),
    }


def compare(names: list[str]) -> Compared:
    """Two sides; or, in the workspace, the encoder before training and after it."""
    if names and names[0] == names[1]:
        raise InputError(f"{names[0]}: the same side twice; name two different sides")
    if names:
        before, after = (sides.read(name, "test", "dense") for name in names)
    else:
        before, after = (
            sides.read(sides.WORKSPACE, "test", system)._replace(name=system)
            for system in ("zero_shot", "dense")
        )
    for side in (before, after):
        sides.require_this_collection(side, "test")
    seed = load_settings("params.yaml").seed
    return Compared(before, after, beir.read_qrels("data/collection", "test"), seed)


def question(names: list[str], topics: int, collection: str) -> str:
    asked = "Are they different" if names else "Does training help"
    judged = "test topics with human judgments" if collection in HUMAN else "judged test topics"
    return f"{asked}? {topics} {judged} of {collection}."


def answer(compared: Compared) -> str:
    """One sentence with interval and p value."""
    before, after, gain = compared.intervals
    test = compared.test
    verb = "has" if test.p_randomization < ALPHA else "has, within chance,"
    return (
        f"{compared.after.name} {verb} {PRIMARY_MEASURE} {after.mean:.3f} and "
        f"{compared.before.name} {before.mean:.3f}: {test.difference:+.3f} "
        f"(95 % interval {gain.low:+.3f} to {gain.high:+.3f}, "
        f"p = {test.p_randomization:.4f} by a paired randomization test); "
        f"{test.wins} topics are better, {test.ties} equal and {test.losses} worse."
    )


def notes(side: str) -> list[str]:
    """Warnings: useless training, cut texts, figures that do not match code and parameters."""
    measured = json.loads(sides.text(side, "metrics/lengths.json"))
    found = filter(None, [no_gain_notes(sides.training(side)), truncated_texts(measured)])
    named = [note if side == sides.WORKSPACE else f"{side}: {note}" for note in found]
    return [*named, *filter(None, [sides.stale(side=side)])]


def vega() -> str:
    """The scripts that draw the charts, from the page of `dvc plots show`."""
    if not VEGA.exists():
        raise InputError(f"{VEGA}: missing; run `git restore {VEGA}`")
    return "\n".join(re.findall(r"<script>\n/\* .*?</script>", VEGA.read_text("utf-8"), re.DOTALL))


def write_readme() -> None:
    """Write the tables between their markers in README.md, and draw docs/figures."""
    sides.require("compare")
    text = README.read_text(encoding="utf-8")
    block = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not block.search(text):
        raise InputError(f"{README}: no {BEGIN} ... {END} to put the tables in")
    with new_file(README) as file:
        file.write(block.sub(lambda _: f"{BEGIN}\n{readme_tables()}\n{END}", text))
    for name, svg in report_charts.figures().items():
        with new_file(FIGURES / f"{name}.svg") as file:
            file.write(svg)
        print(FIGURES / f"{name}.svg")


def readme_tables() -> str:
    return "\n\n".join(table.markdown for table in report_tables.results())


if __name__ == "__main__":
    arguments = parser("tools.report", __doc__)
    arguments.add_argument("sides", nargs="*", metavar="SIDE", help="two sides to compare, or none")
    arguments.add_argument("--readme", action="store_true", help="update README and docs/figures")
    chosen = arguments.parse_args()
    if len(chosen.sides) not in (0, 2):
        arguments.error("give two sides, or none")
    with one_line_errors("report"):
        if chosen.readme:
            write_readme()
        else:
            main(chosen.sides)
