"""Say which system is best, what training gave and what to try next; write report.html, report.md.

Reads metrics, plots, runs and data/collection; if they exist, also encoders, embeddings and costs.
With two sides (revisions, experiments or `workspace`), the report compares the runs of `dense`. The
page is one file and needs no network. The report warns of outdated results; its options refuse
them: `--latex` prints a table for a paper (package booktabs), `--csv` every measure of each topic
and system, and `--readme` writes README's table and the images in docs/figures.

    python -m tools.report
    python -m tools.report HEAD NAME
    python -m tools.report --latex > systems.tex
    python -m tools.report --csv > topics.csv
    python -m tools.report --readme
"""

import csv
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
from tools.conclusion import Results, conclude
from tools.diff import one_seed_note

README, FIGURES, VEGA = Path("README.md"), Path("docs/figures"), Path(".dvc/plots.html")
PAGE, MARKDOWN = Path("report.html"), Path("report.md")
BEGIN, END = "<!-- made by `python -m tools.report --readme` -->", "<!-- end -->"
OPTIONS = {
    "latex": "print a LaTeX table of the systems",
    "csv": "print every measure of each topic and system",
    "readme": "update README and docs/figures",
}


def main(names: list[str]) -> None:
    """Write the report of the workspace, or of two sides."""
    content = contents(names)
    pages = {path: PAGES.get_template(path.name).render(**content) for path in (PAGE, MARKDOWN)}
    for path, text in pages.items():
        with new_file(path) as file:
            file.write(text)
    if not names:
        print(report_tables.short().markdown, end="\n\n")
    print("\n\n".join([*content["notes"], *content["answer"]]))
    print(f"\nAll figures and charts: {PAGE.resolve().as_uri()}")


def contents(names: list[str]) -> dict[str, Any]:
    """Everything that the templates show, for two sides or for the workspace."""
    collection = read_json(sides.MANIFEST)["collection"]["name"]
    compared = compare(names)
    shown = names or [sides.WORKSPACE]
    won, lost = compared.moved()
    gains = [(compared.queries[topic].text, gain) for topic, gain in compared.gains.items()]
    charts = [*report_charts.of_dvc(names).values()]
    if any(compared.gains.values()):
        charts.append(report_charts.gains(gains, PRIMARY_MEASURE))
    results = report_tables.changed(names) if names else report_tables.results()
    details = [report_tables.lengths(shown[-1]), report_tables.indexes(shown[-1])]
    if shown[-1] == sides.WORKSPACE:
        details += report_tables.workspace()
    if names:
        title = f"{names[1]} against {names[0]} on {collection}"
        answer = [difference(compared), *filter(None, [one_seed_note(names)])]
        notes = [note for name in names for note in warnings(name)]
    else:
        title = f"Retrieval on {collection}"
        answer, notes = conclude(Results.here()), [*filter(None, [sides.stale()])]
    return {
        "title": title,
        "answer": answer,
        "notes": notes,
        "tables": results,
        "charts": [report_charts.for_page(chart) for chart in charts],
        "moved": {
            f"Topics that {verb} most, from {compared.before.name} to {compared.after.name}": topics
            for verb, topics in (("gained", won), ("lost", lost))
        },
        "details": details,
        "params": {name: sides.text(name, "params.yaml") for name in shown},
        "command": " ".join(["python -m tools.report", *names]),
        "vega": vega(),
    }


def compare(names: list[str]) -> Compared:
    """Two sides; or, in the workspace, the encoder before training and after it."""
    if names and names[0] == names[1]:
        raise InputError(f"{names[0]}: the same side twice; name two different sides")
    if files := [name for name in names if Path(name).is_file()]:
        raise InputError(
            f"{files[0]}: a run file has no parameters to report; `python -m tools.diff` compares "
            "it, and in data/external_runs it becomes a system"
        )
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


def difference(compared: Compared) -> str:
    """The difference of two sides, with its interval and p value."""
    before, after, gain = compared.intervals
    test, names = compared.test, (compared.after.name, compared.before.name)
    significant = test.p_randomization < ALPHA
    if not significant:
        verdict = f"There is no significant difference between {names[0]} and {names[1]}"
    else:
        verdict = (
            f"{names[0]} is significantly {'better' if gain.mean > 0 else 'worse'} than {names[1]}"
        )
    return (
        f"{verdict}: {PRIMARY_MEASURE} {after.mean:.3f} and {before.mean:.3f} over "
        f"{len(compared.qrels)} test topics, {gain.mean:+.3f} (95 % interval {gain.low:+.3f} to "
        f"{gain.high:+.3f}, p = {test.p_randomization:.4f}); {test.wins} topics are better, "
        f"{test.ties} equal and {test.losses} worse. "
        f"{compared.evidence.in_words(len(compared.qrels), significant)}"
    )


def warnings(side: str) -> list[str]:
    """Useless training, cut texts, figures that do not match code and parameters."""
    measured = json.loads(sides.text(side, "metrics/lengths.json"))
    found = filter(None, [no_gain_notes(sides.training(side)), truncated_texts(measured)])
    return [*(f"{side}: {note}" for note in found), *filter(None, [sides.stale(side=side)])]


def vega() -> str:
    """The scripts that draw the charts, from the page of `dvc plots show`."""
    if not VEGA.exists():
        raise InputError(f"{VEGA}: missing; run `git restore {VEGA}`")
    return "\n".join(re.findall(r"<script>\n/\* .*?</script>", VEGA.read_text("utf-8"), re.DOTALL))


def current(option: str) -> None:
    """One of OPTIONS. Raises InputError if the results are outdated."""
    sides.require("compare", "eval")
    if option == "latex":
        print(report_tables.latex(), end="")
    elif option == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows(report_tables.topics())
    else:
        write_readme()


def write_readme() -> None:
    """Write answer and table between their markers in README.md, and draw docs/figures."""
    text = README.read_text(encoding="utf-8")
    block = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not block.search(text):
        raise InputError(f"{README}: no {BEGIN} ... {END} to put the table in")
    figures = report_charts.figures()
    with new_file(README) as file:
        file.write(block.sub(lambda _: readme_block(), text))
    for name, svg in figures.items():
        with new_file(FIGURES / f"{name}.svg") as file:
            file.write(svg)
        print(FIGURES / f"{name}.svg")


def readme_block() -> str:
    """The table and the sentences of README, between their markers."""
    sentences = [f"- {sentence}" for sentence in conclude(Results.here())]
    return "\n".join([BEGIN, report_tables.short().markdown, "", *sentences, END])


if __name__ == "__main__":
    arguments = parser("tools.report", __doc__)
    arguments.add_argument("sides", nargs="*", metavar="SIDE", help="two sides to compare, or none")
    options = arguments.add_mutually_exclusive_group()
    for option, what in OPTIONS.items():
        options.add_argument(
            f"--{option}", dest="option", action="store_const", const=option, help=what
        )
    chosen = arguments.parse_args()
    if len(chosen.sides) not in ((0,) if chosen.option else (0, 2)):
        arguments.error("give two sides, or none; with an option, none")
    with one_line_errors("report"):
        if chosen.option:
            current(chosen.option)
        else:
            main(chosen.sides)
