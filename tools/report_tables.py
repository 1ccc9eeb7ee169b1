"""The tables of the report, README and model card."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from string import ascii_letters
from typing import Any, NamedTuple

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation.comparison import best_first, run_files
from dpr.evaluation.markdown_tables import ALPHA, table
from dpr.measures import PRIMARY_MEASURE, by_topic
from dpr.records import beir
from dpr.records.types import ENCODERS
from dpr.runs.trec import read_run
from dpr.settings import load_settings
from tools import costs, sides
from tools.conclusion import COMPARED, gain
from tools.passages import COLLECTION
from tools.systems import descriptions_of

SHORT = 3  # measures of a short table
LETTERS = (
    "Means with 95 % intervals; bold: the best of a column; above: the letters of the systems that "
    "this one is significantly better than (paired randomization test, Holm's correction over all "
    "pairs)."
)
EVIDENCE = (
    "Detectable: the true difference that these topics find four times in five. Topics needed: how "
    "many find the observed difference that often, if it is the true one (paired t-test at "
    f"{ALPHA}, two-sided, without Holm's correction)."
)
TEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


class Table(NamedTuple):
    """A table with its heading, and a sentence on how to read it."""

    name: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""

    @property
    def markdown(self) -> str:
        return table(self.header, self.rows)


def systems(compared: dict[str, Any], measures: list[str]) -> Table:
    """Means with 95 % intervals, best system first, the best of a column in bold.

    A letter names each system; `above` has the letters of the systems that it is significantly
    better than, in the first measure.
    """
    order, means, letters = best_first(compared), compared["systems"], lettered(compared)
    best = {measure: means[best_first(compared, measure)[0]][measure] for measure in measures}
    rows = []
    for system in order:
        below = "".join(letters[s] for s in significantly_below(compared, system, measures[0]))
        cells = ["{mean:.3f} [{low:.3f}, {high:.3f}]".format(**means[system][m]) for m in measures]
        bold = [
            f"**{cell}**" if best[m] == means[system][m] else cell
            for cell, m in zip(cells, measures, strict=True)
        ]
        rows.append([letters[system], system, bold[0], below, *bold[1:]])
    header = ["", "system", measures[0], "above", *measures[1:]]
    return Table("Systems", header, rows, LETTERS)


def lettered(compared: dict[str, Any]) -> dict[str, str]:
    """A letter for each system, best first. Raises InputError if there are not enough."""
    order = best_first(compared)
    if len(order) > len(ascii_letters):
        raise InputError(
            f"data/external_runs: {len(order)} systems are more than a table has letters for, "
            f"{len(ascii_letters)}; move some runs elsewhere"
        )
    return dict(zip(order, ascii_letters, strict=False))


def significantly_below(compared: dict[str, Any], system: str, measure: str) -> list[str]:
    """The systems that are significantly worse than this one, best first."""
    gains = {s: gain(compared, system, s, measure) for s in best_first(compared) if s != system}
    return [s for s, of in gains.items() if of.significant and of.difference > 0]


def tests(compared: dict[str, Any]) -> Table:
    """All pairs in the primary measure, the better system first."""
    rows = []
    for better, worse in combinations(best_first(compared), 2):
        of = gain(compared, better, worse, PRIMARY_MEASURE)
        row = [better, worse, f"{of.difference:+.4f}", f"{of.low:+.4f} to {of.high:+.4f}"]
        finds = "-" if of.detectable is None else f"{of.detectable:.4f}"
        needs = "-" if of.topics_needed is None else f"{of.topics_needed:,}"
        outcomes = f"{of.wins} / {of.ties} / {of.losses}"
        rows.append([*row, outcomes, f"{of.p_holm:.4f}", finds, needs])
    header = ["system", "minus", PRIMARY_MEASURE, "95 % interval", "wins / ties / losses", "p Holm"]
    header += ["detectable", "topics needed"]
    return Table(f"Differences in {PRIMARY_MEASURE}", header, rows, EVIDENCE)


def short() -> Table:
    """The systems in the primary measure and the first two different ones of eval.measures."""
    return systems(read_json(COMPARED), shown()[:SHORT])


def descriptions() -> Table:
    """The systems of the workspace in words, best first."""
    settings, weight = load_settings("params.yaml"), read_json("metrics/fuse.json")["dense_weight"]
    rm3 = ", with RM3" if settings.bm25.rm3.use else ""
    feedback = f"{method} feedback" if (method := settings.search.feedback.method) else ""
    more = {
        "bm25": f"Lucene, k1 {settings.bm25.k1:g}, b {settings.bm25.b:g}{rm3}",
        "zero_shot": ", ".join(filter(None, (settings.model.name, feedback))),
        "rrf": f"k {settings.fuse.rrf_k}",
        "hybrid": f"{weight:g} dense + {1 - weight:g} bm25",
        "reranked": f"{settings.rerank.depth} of {settings.rerank.run}, {settings.rerank.model}",
    }
    more |= {"dense": feedback} if feedback else {}
    in_words, rows = descriptions_of(settings), []
    for system in best_first(read_json(COMPARED)):
        words = in_words.get(system, f"a run of data/external_runs: {system}")
        rows.append([system, f"{words}: {more[system]}" if system in more else words])
    return Table("Systems in words", ["system", "in words"], rows)


def results() -> list[Table]:
    """All measures of all systems in the workspace, and their tests."""
    compared = read_json(COMPARED)
    more = systems(compared, shown())
    by_measure = [[row[1], row[2], *row[4:]] for row in more.rows]
    every = Table("All measures", ["system", more.header[2], *more.header[4:]], by_measure)
    return [short(), descriptions(), tests(compared), every]


def latex() -> str:
    """The short table for a paper that uses booktabs, as ranx prints it: letters as exponents."""
    import pandas  # loads slowly

    compared = read_json(COMPARED)
    measures = shown()[:SHORT]
    order, means, letters = best_first(compared), compared["systems"], lettered(compared)
    columns: dict[str, list[str]] = {"": [letters[system] for system in order]}
    for measure in measures:
        top = means[best_first(compared, measure)[0]][measure]
        columns[measure] = []
        for system in order:
            figure = f"{means[system][measure]['mean']:.3f}"
            below = "".join(letters[s] for s in significantly_below(compared, system, measure))
            bold = rf"\textbf{{{figure}}}" if means[system][measure] == top else figure
            columns[measure].append(bold + (rf"\textsuperscript{{{below}}}" if below else ""))
    collection = read_json(sides.MANIFEST)["collection"]["name"]
    caption = (
        f"Means over {compared['topics']} test topics of {collection.translate(TEX)}. Bold: best "
        "of a column. Letters: significantly better than the systems with these letters (paired "
        f"randomization test, $p < {ALPHA}$, Holm's correction over all pairs)."
    )
    style = pandas.DataFrame(columns, index=order).style
    style.format_index(escape="latex").format_index(escape="latex", axis=1)
    text: str = style.to_latex(
        hrules=True,
        column_format="@{}ll" + "l" * len(measures) + "@{}",
        position="t",
        position_float="centering",
        caption=caption,
        label="tab:systems",
    )
    return text


def topics() -> Iterator[list[Any]]:
    """A header, then a row for each test topic and system, with every measure of eval.measures."""
    settings = load_settings("params.yaml")
    names, top_k = settings.eval.measures, settings.search.top_k
    qrels, queries = beir.read_qrels(COLLECTION, "test"), beir.read_queries(COLLECTION)
    files = run_files("data/runs/test", "data/external_runs")
    yield ["topic", "text", "system", *names]
    for system in best_first(read_json(COMPARED)):
        values = by_topic(qrels, read_run(files[system]).first(top_k), names)
        for query_id in qrels:
            figures = [values[name][query_id] for name in names]
            yield [query_id, queries[query_id].text, system, *figures]


def shown() -> list[str]:
    """The measures of params.yaml, the primary one first."""
    measures = load_settings("params.yaml").eval.measures
    return [PRIMARY_MEASURE, *(m for m in measures if m != PRIMARY_MEASURE)]


def changed(names: list[str]) -> list[Table]:
    """The parameters that differ between two sides, and the measures of both."""
    before, after = (sides.parameters(name) for name in names)
    parameters = [
        [key, str(before.get(key, "-")), str(after.get(key, "-"))]
        for key in sides.differing(before, after)
    ]
    before, after = (sides.flat(sides.text(name, "metrics/eval.json")) for name in names)
    rows = [
        [key, f"{before[key]:.4f}", f"{after[key]:.4f}", f"{after[key] - before[key]:+.4f}"]
        for key in before
        if key in after
    ]
    alone = sorted({key.partition(".")[2] for key in before.keys() ^ after.keys()})
    note = f"Left out, since one side alone has them: {', '.join(alone)}." if alone else ""
    same = "" if parameters else "No parameter differs."
    return [
        Table("Parameters that differ", ["parameter", *names], parameters, same),
        Table("Measures", ["measure", *names, "difference"], rows, note),
    ]


def lengths(side: str) -> Table:
    keys = ["count", "mean", "p50", "p99", "max", "limit"]
    rows = [
        [
            name.replace("_", " "),
            *("-" if of[k] is None else f"{of[k]:,.0f}" for k in keys),
            f"{of['truncated']:.1%}",
        ]
        for name, of in json.loads(sides.text(side, "metrics/lengths.json")).items()
    ]
    name = "Tokens of the texts, and the share that is truncated"
    return Table(name, ["texts", *keys, "truncated"], rows)


def indexes(side: str) -> Table:
    """The results of the stage `audit`."""
    rows = []
    for system, of in json.loads(sides.text(side, "metrics/audit.json")).items():
        row = [system, of["kind"], f"{of['recall@10']:.4f}", f"{of['bytes_per_vector']:,.0f}"]
        least = f"{of['precision']['cosine_to_fp32']['least']:.4f}"
        rows.append([*row, of["precision"]["format"], least])
    header = ["system", "kind", "recall@10", "bytes per vector", "format", "least cosine to fp32"]
    return Table("Indexes against exact search", header, rows)


def workspace() -> list[Table]:
    """Versions and processor of the results in this workspace, and costs of its stages."""
    tables = [Table("Versions and processor", ["made with"], [[line] for line in made_with()])]
    if costs.in_workspace():
        tables.append(Table("Costs in this workspace", *costs.last()))
    return tables


def made_with() -> list[str]:
    """Formats and versions of encoders and vectors in this workspace, and the processors."""
    lines, formats = [], {}
    for system in ENCODERS:
        encoder = Path(f"data/encoders/{system}/made_with.json")
        embeddings = Path(f"data/embeddings/{system}/manifest.json")
        if encoder.exists() and embeddings.exists():
            trained, encoded = read_json(encoder), read_json(embeddings)
            formats[system] = encoded["format"]
            versions = ", ".join(f"{k} {v}" for k, v in encoded.get("versions", {}).items())
            weights = f"weights {trained['format']}, passages {encoded['format']}"
            lines.append(f"{system}: {weights}; {versions}")
    if len(set(formats.values())) > 1:
        lines.append(f"note: different number formats ({formats}) explain part of a difference")
    if processors := dict.fromkeys(row["processor"] for row in costs.in_workspace()):
        lines.append(f"run on: {'; '.join(processors)}")
    return lines
