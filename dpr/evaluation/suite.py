"""Systems over several collections: figures by collection, means, and tests corrected over them."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from dpr.evaluation.report import table
from dpr.evaluation.significance import holm

Compared = Mapping[str, Any]  # what `compare_systems` returns
PAIRS = (("dense", "zero_shot"), ("dense", "bm25"), ("hybrid", "bm25"))


def figures_table(collections: Mapping[str, Compared], measure: str) -> str:
    """A row for each collection and their mean, a column for each system."""
    systems = list(next(iter(collections.values()))["systems"])
    means = {
        name: [compared["systems"][system][measure]["mean"] for system in systems]
        for name, compared in collections.items()
    }
    means["mean"] = [fmean(column) for column in zip(*means.values(), strict=True)]
    return table(
        [measure, *systems],
        ([name, *(f"{value:.4f}" for value in row)] for name, row in means.items()),
    )


def tests_table(collections: Mapping[str, Compared], measure: str) -> str:
    """A row for each pair of systems and collection; p Holm is corrected over the collections.

    The last row of a pair has the number of collections in which the first is better.
    """
    rows = []
    for system, reference in PAIRS:
        tests = {
            name: compared["against"][reference][system][measure]
            for name, compared in collections.items()
            if reference in compared["against"]
        }
        corrected = holm({name: test["p_randomization"] for name, test in tests.items()})
        for name, test in tests.items():
            rows.append(
                [
                    f"{system} - {reference}",
                    name,
                    f"{test['difference']:+.4f}",
                    f"{test['wins']} / {test['ties']} / {test['losses']}",
                    f"{corrected[name]:.4f}",
                ]
            )
        if tests:
            better = sum(test["difference"] > 0 for test in tests.values())
            mean = fmean(test["difference"] for test in tests.values())
            summary = f"better in {better} of {len(tests)}"
            rows.append([f"{system} - {reference}", summary, f"{mean:+.4f}", "", ""])
    return table([measure, "collection", "difference", "wins / ties / losses", "p Holm"], rows)


def rows(collections: Mapping[str, Compared], measures: Sequence[str]) -> Iterator[list[Any]]:
    """[collection, system, measure, mean] of all."""
    for name, compared in collections.items():
        for system, by_measure in compared["systems"].items():
            for measure in measures:
                yield [name, system, measure, by_measure[measure]["mean"]]
