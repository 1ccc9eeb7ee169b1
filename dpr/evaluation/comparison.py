"""Systems side by side: means with intervals, and paired tests against references."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dpr.base.errors import InputError
from dpr.evaluation import significance
from dpr.measures import ByTopic

Results = dict[str, ByTopic]  # {system: {measure: {query id: value}}}


def compare_systems(results: Results, references: Sequence[str], seed: int) -> dict[str, Any]:
    """How good each system is, how much better than the references, and whether by chance.

    Returns:
        {"systems": {system: {measure: {mean, low, high}}},
         "against": {reference: {system: {measure: {difference, p_randomization, p_t, p_holm,
                                                    wins, ties, losses}}}}}
        p_holm is the randomization test's p value, corrected for the number of systems compared
        with the same reference in the same measure.
    Raises:
        InputError: for a reference that is not among the systems.
    """
    for reference in references:
        if reference not in results:
            raise InputError(
                f"params.yaml: eval.references: {reference!r} is no system; there are "
                + ", ".join(results)
            )
    systems = {}
    for system, by_topic in results.items():
        values = np.array([list(by_query.values()) for by_query in by_topic.values()])
        found = significance.intervals(values, seed)
        systems[system] = {m: i._asdict() for m, i in zip(by_topic, found, strict=True)}
    against = {reference: _against(results, reference, seed) for reference in references}
    return {"systems": systems, "against": against}


def _against(results: Results, reference: str, seed: int) -> dict[str, Any]:
    others = [system for system in results if system != reference]
    rows: dict[str, Any] = {system: {} for system in others}
    for measure, reference_values in results[reference].items():
        values = [[results[s][measure][query_id] for query_id in reference_values] for s in others]
        found = significance.compare(
            np.array(values), np.array(list(reference_values.values())), seed
        )
        compared = dict(zip(others, found, strict=True))
        corrected = significance.holm({s: c.p_randomization for s, c in compared.items()})
        for system, comparison in compared.items():
            rows[system][measure] = comparison._asdict() | {"p_holm": corrected[system]}
    return rows
