"""Comparisons as Markdown tables, for a README or a terminal."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from dpr.evaluation.significance import ALPHA, Comparison, holm
from dpr.evaluation.variation import LEAST, compare, variances
from dpr.measures import PRIMARY_MEASURE

FEW = 3  # seeds of a recipe, or fewer
Compared = Mapping[str, Any]  # what `compare_systems` returns
# System and reference of the tests over several collections.
TESTED = (("dense", "zero_shot"), ("dense", "bm25"), ("hybrid", "bm25"))
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


def topics_table(
    texts: dict[str, str], before: dict[str, float], after: dict[str, float], top: int
) -> str:
    """The `top` topics with the largest differences, whether better or worse."""
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
    """In words: the difference between the means, and whether it is significant."""
    significant = result.p_randomization < ALPHA
    return (
        f"{measure} over {len(before)} topics: {fmean(before.values()):.4f} -> "
        f"{fmean(after.values()):.4f} ({result.difference:+.4f}); "
        f"{result.wins} topics better, {result.ties} equal, {result.losses} worse\n"
        f"{'significant' if significant else 'not significant'} at {ALPHA}: "
        f"p = {result.p_randomization:.4f} (paired randomization test), {result.p_t:.4f} (t-test)"
    )


def one_recipe(values: np.ndarray) -> str:
    """How far seeds and topics move the mean of a recipe: (seeds, topics)."""
    seeds, topics = values.shape
    parts = variances(values)
    moved = (parts.topics / topics, parts.seeds, parts.both / topics)
    names = ("topics", "seeds, all topics alike", "seeds, each topic for itself")
    rows = (
        [name, f"{variance:.5f}", f"{of_mean**0.5:.4f}"]
        for name, variance, of_mean in zip(names, parts, moved, strict=True)
    )
    shown = table(["what varies", "variance", "deviation of the mean of one seed"], rows)
    return f"\n{shown}\n\n{poorly_known(seeds)}".rstrip()


def over_seeds(before: np.ndarray, after: np.ndarray) -> str:
    """The test that takes seeds and topics as samples; each side: (seeds, topics)."""
    if len(before) + len(after) < LEAST:
        return f"note: a test over seeds and topics takes {LEAST} seeds in all, such as two a side"
    of = compare(before, after)
    return (
        f"over seeds and topics: {of.difference:+.4f} (95 % interval {of.low:+.4f} to "
        f"{of.high:+.4f}), p = {of.p:.4f} (quasi-F test)\n{poorly_known(len(before), len(after))}"
    ).rstrip()


def poorly_known(*seeds: int) -> str:
    """A note on few seeds: how far their deviation may be from the true one; else ""."""
    from scipy.stats import chi2  # here, since it loads slowly

    if max(seeds) > FEW:
        return ""
    spare = sum(seeds) - len(seeds)
    least, most = (spare / chi2.ppf([0.975, 0.025], spare)) ** 0.5
    return (
        f"note: few seeds ({' and '.join(map(str, seeds))}), so their variance is poorly known: "
        f"the true deviation between seeds may be {least:.1f} to {most:.0f} times that of these"
    )


def no_gain_notes(training: dict[str, dict[str, Any]]) -> str:
    """A sentence for each round in which no step validated better than the start; else "".

    Args:
        training: the metrics of `train` by round; a round that was not run has no step.
    """
    return " ".join(
        f"Training did not help in the {name} round: no step validates better than "
        f"{BEGINS[name]}, which is kept."
        for name, figures in training.items()
        if figures["steps"] and figures["best"]["step"] == 0
    )


class Experiment(NamedTuple):
    """Parameters, and the primary measure of the trained encoder; NaN if there is none yet.

    Args:
        over: how many passages the validation ranks; None: all.
    """

    parameters: dict[str, Any]
    valid: float
    test: float
    over: int | None = None


def experiments_table(
    experiments: dict[str, Experiment], p_values: Mapping[str, float] | None = None
) -> str:
    """A row for each experiment, with the parameters that differ and, if given, p values.

    Experiments that validate over all passages come first, then those over smaller pools; among
    those with equal pools, the best validation comes first.
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
            _figure(e.valid),
            *([_figure(p_values.get(name, math.nan))] if p_values else []),
            _figure(e.test),
        ]
        for name, e in sorted(experiments.items(), key=place)
    )
    tested = ["p Holm"] if p_values else []
    header = ["over", f"validation {PRIMARY_MEASURE}", *tested, f"test {PRIMARY_MEASURE}"]
    return table(["experiment", *varied, *header], rows)


def collections_table(collections: Mapping[str, Compared], measure: str) -> str:
    """A row for each collection and their mean, a column for each system that all of them have."""
    every = [compared["systems"] for compared in collections.values()]
    systems = [system for system in every[0] if all(system in found for found in every)]
    means = {
        name: [compared["systems"][system][measure]["mean"] for system in systems]
        for name, compared in collections.items()
    }
    means["mean"] = [fmean(column) for column in zip(*means.values(), strict=True)]
    rows = ([name, *(f"{value:.4f}" for value in row)] for name, row in means.items())
    return table([measure, *systems], rows)


def collections_tests_table(collections: Mapping[str, Compared], measure: str) -> str:
    """A row for each tested pair and collection; p Holm is corrected over the collections.

    The last row of a pair counts the collections in which the system beats the reference.
    """
    rows = []
    for system, reference in TESTED:
        tests = {
            name: compared["against"][reference][system][measure]
            for name, compared in collections.items()
            if reference in compared["against"]
        }
        pair = f"{system} - {reference}"
        p_holm = holm({n: test["p_randomization"] for n, test in tests.items()})
        for name, test in tests.items():
            difference = f"{test['difference']:+.4f}"
            rows.append([pair, name, difference, _outcomes(test), f"{p_holm[name]:.4f}"])
        if tests:
            differences = [test["difference"] for test in tests.values()]
            better = sum(difference > 0 for difference in differences)
            summary = f"better in {better} of {len(tests)}"
            rows.append([pair, summary, f"{fmean(differences):+.4f}", "", ""])
    return table([measure, "collection", "difference", "wins / ties / losses", "p Holm"], rows)


def collections_rows(
    collections: Mapping[str, Compared], measures: Sequence[str]
) -> Iterator[list[Any]]:
    """[collection, system, measure, mean] for a CSV file."""
    for name, compared in collections.items():
        for system, by_measure in compared["systems"].items():
            for measure in measures:
                yield [name, system, measure, by_measure[measure]["mean"]]


def _outcomes(test: dict[str, Any]) -> str:
    return f"{test['wins']} / {test['ties']} / {test['losses']}"


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _parameter(value: Any) -> str:
    """As in params.yaml. DVC's table has floats for integers, and None, "None" or NaN for null."""
    if value in (None, "None") or value != value:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)
