"""Compare two experiments topic by topic, and test whether their difference is significant.

A side is a git revision, an experiment, `workspace`, or a run file in TREC format. Reads both runs,
and topics and judgments of data/collection. Sides with a different collection, judgments or topics
are refused.

    python -m tools.diff HEAD workspace
    python -m tools.diff HEAD NAME --split valid
    python -m tools.diff NAME OTHER --system hybrid --measure AP --top 20
    python -m tools.diff one/run.txt another/run.txt --common
"""

import argparse

from ruamel.yaml import YAML

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation.markdown_tables import topics_table, verdict
from dpr.records import beir
from dpr.records.types import SYSTEMS, Qrels
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import sides
from tools.compared import Compared
from tools.sides import Side


def main(arguments: argparse.Namespace) -> None:
    qrels = beir.read_qrels("data/collection", arguments.split)
    if not qrels:
        raise InputError(f"data/collection/qrels/{arguments.split}.tsv: no topic with a judgment")
    before, after = (
        sides.read(name, arguments.split, arguments.system)
        for name in (arguments.before, arguments.after)
    )
    for side in (before, after):
        sides.require_this_collection(side, arguments.split)
        require_depth(side, arguments.measure)
        if note := sides.stale(sides.STAGE_OF[arguments.system], side=side.name):
            print(f"note: {note}")
    qrels = shared_topics(qrels, before, after, arguments.common)
    seed = load_settings("params.yaml").seed
    compared = Compared(before, after, qrels, seed, arguments.measure)
    texts = {query_id: compared.queries[query_id].text for query_id in qrels}
    print(topics_table(texts, *compared.values, arguments.top), end="\n\n")
    print(verdict(arguments.measure, *compared.values, compared.test))
    if None not in (before.format, after.format) and before.format != after.format:
        print(
            f"note: {before.name} was encoded in {before.format}, {after.name} in {after.format}: "
            "the number formats explain part of the difference"
        )


def require_depth(side: Side, measure: str) -> None:
    """Raises InputError if a measure is deeper than a side's search; a run file has no limit."""
    if side.collection is None:
        return
    params = YAML(typ="safe", pure=True).load(sides.text(side.name, "params.yaml"))
    top_k = params["search"]["top_k"]
    if (measures.cutoff(measure) or 0) > top_k:
        raise InputError(
            f"--measure {measure}: {side.name} has search.top_k {top_k}, which is too shallow; "
            "choose a different measure"
        )


def shared_topics(qrels: Qrels, before: Side, after: Side, common: bool) -> Qrels:
    """The judgments for the comparison: all topics or, with `common`, the topics in both runs.

    An experiment searches every topic: its run lacks a topic if the search found nothing. A run
    file may come from a search with fewer topics.

    Raises:
        InputError: if the runs have different topics, unless `common` is set.
    """
    searched = []
    for side in (before, after):
        topics = qrels.keys() if side.collection is not None else qrels.keys() & side.run.keys()
        if not topics:
            raise InputError(
                f"{side.name}: data/collection judges no topic of this run; is it for a different "
                "collection?"
            )
        searched.append(topics)
    both = searched[0] & searched[1]
    if common and not both:
        raise InputError(f"{before.name} and {after.name} have no topic in common")
    if common and len(both) < len(qrels):
        print(f"over the {len(both)} topics that both runs have, of {len(qrels)} judged\n")
        return {query_id: grades for query_id, grades in qrels.items() if query_id in both}
    if searched[0] != searched[1]:
        raise InputError(
            f"{before.name} has {len(searched[0])} of the {len(qrels)} judged topics, {after.name} "
            f"has {len(searched[1])}, and {len(both)} are the same; add --common to compare over "
            "the topics that both have"
        )
    if len(both) < len(qrels):
        print(f"{len(qrels) - len(both)} judged topics are in neither run: each counts as 0\n")
    return qrels


def measure_name(name: str) -> str:
    try:
        return measures.check_one(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    arguments = parser("tools.diff", __doc__)
    arguments.add_argument("before", help="first: revision, experiment, `workspace` or run file")
    arguments.add_argument("after", help="second: the same choices")
    arguments.add_argument("--system", default="dense", choices=SYSTEMS, help="system to compare")
    arguments.add_argument("--split", default="test", choices=["test", "valid"])
    arguments.add_argument("--measure", default=measures.PRIMARY_MEASURE, type=measure_name)
    arguments.add_argument("--top", default=10, type=int, help="topics to show (default: 10)")
    arguments.add_argument("--common", action="store_true", help="only topics that both runs have")
    chosen = arguments.parse_args()
    with one_line_errors("diff"):
        main(chosen)
