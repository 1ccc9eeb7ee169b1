"""Comparisons as Markdown tables, for a README or a terminal."""

import math
from collections.abc import Iterable
from statistics import fmean
from typing import Any, NamedTuple

from dpr.evaluation.significance import Comparison
from dpr.measures import HEADLINE

ALPHA = 0.05
BEGINS = {"first": "the untrained encoder", "second": "the encoder of the first round"}


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table with aligned columns, readable in a terminal too."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def systems_table(compared: dict[str, Any], measures: list[str]) -> str:
    """A row for each system, a column for each measure: the mean with its 95 % interval."""
    systems = compared["systems"]
    return table(
        ["system", *measures],
        (
            [system, *(interval(by_measure[measure]) for measure in measures)]
            for system, by_measure in systems.items()
        ),
    )


def tests_table(compared: dict[str, Any], measure: str) -> str:
    """A row for each system and reference: their difference in one measure, tested."""
    rows = (
        [
            f"{system} - {reference}",
            f"{row[measure]['difference']:+.4f}",
            f"{row[measure]['wins']} / {row[measure]['ties']} / {row[measure]['losses']}",
            *(f"{row[measure][key]:.4f}" for key in ("p_randomization", "p_t", "p_holm")),
        ]
        for reference, systems in compared["against"].items()
        for system, row in systems.items()
    )
    header = [measure, "difference", "wins / ties / losses", "p randomization", "p t-test"]
    return table([*header, "p Holm"], rows)


def topics_table(
    texts: dict[str, str], before: dict[str, float], after: dict[str, float], top: int
) -> str:
    """The `top` topics of the largest difference, whether better or worse."""
    moved = sorted(texts, key=lambda query_id: -abs(after[query_id] - before[query_id]))
    rows = (
        [
            texts[query_id],
            f"{before[query_id]:.4f}",
            f"{after[query_id]:.4f}",
            f"{after[query_id] - before[query_id]:+.4f}",
        ]
        for query_id in moved[:top]
    )
    return table(["topic", "before", "after", "difference"], rows)


def verdict(
    measure: str, before: dict[str, float], after: dict[str, float], result: Comparison
) -> str:
    """In words: the difference of the means, and whether it is significant."""
    significant = result.p_randomization < ALPHA
    return (
        f"{measure} over {len(before)} topics: {fmean(before.values()):.4f} -> "
        f"{fmean(after.values()):.4f} ({result.difference:+.4f}); "
        f"{result.wins} topics better, {result.ties} equal, {result.losses} worse\n"
        f"{'significant' if significant else 'not significant'} at {ALPHA}: "
        f"p = {result.p_randomization:.4f} (paired randomization test), {result.p_t:.4f} (t-test)"
    )


def unhelpful(training: dict[str, dict[str, Any]]) -> str:
    """In words, of each round that no step has made better; "" if there is none.

    Args:
        training: the metrics of `train` by round; one that was not run has no step.
    """
    return " ".join(
        f"Training did not help in the {name} round: no step validates better than "
        f"{BEGINS[name]}, which is kept."
        for name, figures in training.items()
        if figures["steps"] and figures["best"]["step"] == 0
    )


class Experiment(NamedTuple):
    """Parameters, and the headline measure of the trained encoder; NaN if there is none (yet).

    `over`: the passages that the validation ranks; None: all.
    """

    parameters: dict[str, Any]
    valid: float
    test: float
    over: int | None = None


def experiments_table(experiments: dict[str, Experiment]) -> str:
    """A row for each experiment, with the parameters that differ.

    Best validation first, among those over equally many passages: first all, then smaller pools.
    """
    keys = dict.fromkeys(key for e in experiments.values() for key in e.parameters)
    varied = [
        key
        for key in keys
        if len({str(e.parameters.get(key, "-")) for e in experiments.values()}) > 1
    ]

    def place(item: tuple[str, Experiment]) -> tuple[bool, float, float]:
        e = item[1]
        return math.isnan(e.valid), -(e.over or math.inf), -e.valid

    rows = (
        [
            name,
            *(_parameter(e.parameters.get(key, "-")) for key in varied),
            "-" if math.isnan(e.valid) else str(e.over or "all"),
            *("-" if math.isnan(value) else f"{value:.4f}" for value in (e.valid, e.test)),
        ]
        for name, e in sorted(experiments.items(), key=place)
    )
    header = ["experiment", *varied, "over", f"validation {HEADLINE}", f"test {HEADLINE}"]
    return table(header, rows)


def _parameter(value: Any) -> str:
    """As in params.yaml: in DVC's table integers are floats, and null is None, its text or NaN."""
    if value in (None, "None") or value != value:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)


def interval(value: dict[str, float]) -> str:
    """A mean with its interval."""
    return f"{value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
