"""Compare two experiments topic by topic, and say whether their difference is significant.

Reads the runs of both sides, and topics and judgments of data/collection. Each side is a git
revision, the name of an experiment, `workspace`, or the file of a TREC run. Sides of other
collections, judgments or topics are refused.

    python -m tools.diff HEAD workspace
    python -m tools.diff HEAD NAME --split valid
    python -m tools.diff NAME OTHER --system hybrid --measure AP --top 20
    python -m tools.diff one/run.txt another/run.txt --common
"""

import argparse

import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import report, significance
from dpr.records import beir
from dpr.records.types import SYSTEMS, Qrels
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import sides
from tools.sides import Side


def main(arguments: argparse.Namespace) -> None:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", arguments.split)
    if not qrels:
        raise InputError(f"data/collection/qrels/{arguments.split}.tsv: no topic to compare by")
    before, after = (
        sides.read(name, arguments.split, arguments.system)
        for name in (arguments.before, arguments.after)
    )
    for side in (before, after):
        sides.require_this_collection(side, arguments.split)
        require_depth(side, arguments.measure)
        if said := sides.stale(side.name, sides.MAKES[arguments.system]):
            print(f"note: {said}")
    qrels = shared_topics(qrels, before, after, arguments.common)
    old, new = (
        measures.by_topic(qrels, side.run, [arguments.measure])[arguments.measure]
        for side in (before, after)
    )
    queries = beir.read_queries("data/collection")
    texts = {query_id: queries[query_id].text for query_id in qrels}
    print(report.topics_table(texts, old, new, arguments.top), end="\n\n")
    values = [np.array(list(side.values())) for side in (new, old)]
    (result,) = significance.compare(values[0][None], values[1], settings.seed)
    print(report.verdict(arguments.measure, old, new, result))
    if None not in (before.format, after.format) and before.format != after.format:
        print(
            f"note: {before.name} was encoded in {before.format}, {after.name} in {after.format}: "
            "part of the difference is the number format's"
        )


def require_depth(side: Side, measure: str) -> None:
    """Raises InputError for a measure that looks deeper than a side has searched.

    Of a file that is not known.
    """
    deepest, found = measures.cutoff(measure) or 0, sides.depth(side)
    if found is not None and deepest > found:
        raise InputError(
            f"--measure {measure}: {side.name} has search.top_k {found}, so that it would be "
            "another measure; name one that is not deeper"
        )


def shared_topics(qrels: Qrels, before: Side, after: Side, common: bool) -> Qrels:
    """The judgments to compare by: of all topics, or with `common` of those that both runs have.

    A system of this collection was asked every topic: one that its run lacks has no result. Of a
    file that is not known.

    Raises:
        InputError: for runs of other topics, unless `common` is set.
    """
    asked = [
        qrels.keys() if side.collection is not None else qrels.keys() & side.run.keys()
        for side in (before, after)
    ]
    for side, topics in zip((before, after), asked, strict=True):
        if not topics:
            raise InputError(
                f"{side.name}: no topic of its run is judged in data/collection; was it another "
                "collection?"
            )
    both = asked[0] & asked[1]
    if common and not both:
        raise InputError(f"{before.name} and {after.name} have no topic in common")
    if common and len(both) < len(qrels):
        print(f"over the {len(both)} topics that both runs have, of {len(qrels)} judged\n")
        return {query_id: grades for query_id, grades in qrels.items() if query_id in both}
    if asked[0] != asked[1]:
        raise InputError(
            f"{before.name} has {len(asked[0])} of the {len(qrels)} judged topics, {after.name} "
            f"{len(asked[1])}, {len(both)} of them the same: means over other topics do not "
            "compare; add --common to compare by those that both have"
        )
    if len(both) < len(qrels):
        print(f"{len(qrels) - len(both)} judged topics are in neither run: each counts as 0\n")
    return qrels


def parse() -> argparse.Namespace:
    arguments = parser("tools.diff", __doc__)
    arguments.add_argument("before", help="revision, experiment, `workspace` or run file")
    arguments.add_argument("after", help="the same")
    arguments.add_argument("--system", default="dense", choices=SYSTEMS, help="whose run")
    arguments.add_argument("--split", default="test", choices=["test", "valid"])
    arguments.add_argument("--measure", default=measures.HEADLINE, type=measure_name)
    arguments.add_argument("--top", default=10, type=int, help="topics to show (default: 10)")
    arguments.add_argument("--common", action="store_true", help="only topics that both runs have")
    return arguments.parse_args()


def measure_name(name: str) -> str:
    try:
        return measures.check_one(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    chosen = parse()
    with one_line_errors("diff"):
        main(chosen)
