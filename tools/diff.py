"""Compare two experiments topic by topic, and test whether their difference is significant.

A side is a git revision, an experiment, `workspace`, or a run file in TREC format. Several
experiments, joined by commas, are one recipe with different seeds: each topic has its mean over the
seeds, and a second test takes the seeds as a sample too. One such side alone shows how far seeds
and topics move the mean. Reads the runs, and topics and judgments of data/collection. Sides with a
different collection, judgments or topics are refused.

    python -m tools.diff HEAD workspace
    python -m tools.diff HEAD NAME --split valid
    python -m tools.diff NAME OTHER --system hybrid --measure AP --top 20
    python -m tools.diff A-42,A-43,A-44 B-42,B-43,B-44
    python -m tools.diff A-42,A-43,A-44 --split valid
    python -m tools.diff one/run.txt another/run.txt --common
"""

import argparse
from itertools import chain, combinations
from pathlib import Path
from statistics import fmean

import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import power, significance
from dpr.evaluation.markdown_tables import (
    ALPHA,
    one_recipe,
    over_seeds,
    topics_table,
    verdict,
)
from dpr.measures import by_topic
from dpr.records import beir
from dpr.records.types import SYSTEMS, Qrels
from dpr.settings import TRAINED, load_settings
from stages.run import one_line_errors, parser
from tools import sides
from tools.passages import COLLECTION
from tools.sides import Side

# Groups of parameters that change the training, beside `seed`.
TRAINING = {"data", "mine", "model", "second", "similarity", "teacher", "train"}


def main(arguments: argparse.Namespace) -> None:
    measure, split = arguments.measure, arguments.split
    qrels = beir.read_qrels(COLLECTION, split)
    if not qrels:
        raise InputError(f"{COLLECTION}/qrels/{split}.tsv: no topic with a judgment")
    named = [seeds(names) for names in (arguments.before, arguments.after) if names]
    if len(named) == 1 and len(named[0]) == 1:
        raise InputError(
            f"{arguments.before}: name a second side, or several seeds of one recipe as A,B"
        )
    if same := set(named[0]) & set(*named[1:]):
        raise InputError(f"{min(same)} is on both sides; name two different sides")
    groups = [[sides.read(name, split, arguments.system) for name in names] for names in named]
    for side in chain(*groups):
        sides.require_this_collection(side, split)
        require_depth(side, measure)
        if note := sides.stale(sides.STAGE_OF[arguments.system], side=side.name):
            print(f"note: {note}")
    qrels = shared_topics(qrels, [*chain(*groups)], arguments.common)
    values = [[by_topic(qrels, side.run, [measure])[measure] for side in group] for group in groups]
    if len(named) == 1 and len(qrels) < 2:
        raise InputError(f"{COLLECTION}/qrels/{split}.tsv: one topic; its variance takes two")
    recipes = [np.array([[*v.values()] for v in of_seeds]) for of_seeds in values]
    if len(values) == 2:
        before, after = (means_by_topic(of_seeds) for of_seeds in values)
        print_topics(before, after, f"{split} {measure}", arguments.top)
    else:
        print(f"{split} {measure} over {len(qrels)} topics")
    for group, recipe in zip(groups, recipes, strict=True):
        if len(group) > 1:
            print(in_seeds([side.name for side in group], recipe.mean(axis=1).tolist()))
    if len(recipes) == 1:
        print(one_recipe(*recipes))
    elif max(map(len, recipes)) > 1 and len(qrels) > 1:
        print(over_seeds(*recipes))
    alone = [
        group[0].name for group in groups if len(group) == 1 and group[0].collection is not None
    ]
    if len(alone) == 2 and (note := one_seed_note(alone, arguments.system)):
        print(f"note: {note}")
    formats = {side.format: side.name for side in chain(*groups) if side.format}
    if len(formats) > 1:
        encoded = ", ".join(f"{name} in {format}" for format, name in formats.items())
        print(f"note: vectors are {encoded}: the number formats explain part of the difference")


def print_topics(before: dict[str, float], after: dict[str, float], measure: str, top: int) -> None:
    """The topics that moved most, the test over the topics, and what these topics can show."""
    queries = beir.read_queries(COLLECTION)
    texts = {query_id: queries[query_id].text for query_id in before}
    if top:
        print(topics_table(texts, before, after, top), end="\n\n")
    arrays = [np.array([*side.values()]) for side in (before, after)]
    seed = load_settings("params.yaml").seed
    (test,) = significance.compare(arrays[1][None], arrays[0], seed)
    print(verdict(measure, before, after, test))
    (found,) = power.of((arrays[1] - arrays[0])[None])
    print(found.in_words(len(before), test.p_randomization < ALPHA, decimals=4))


def seeds(names: str) -> list[str]:
    """The names of a side, which are several experiments if only their seed differs.

    Raises:
        InputError: if the experiments differ in more than `seed`, or one is named twice.
    """
    if Path(names).is_file():
        return [names]
    listed = names.split(",")
    if not all(listed) or any(name != name.strip() for name in listed):
        raise InputError(f"{names!r}: name the experiments as A,B without spaces")
    if len(listed) > 1 and (files := [name for name in listed if Path(name).is_file()]):
        raise InputError(f"{names}: {files[0]} is a run file, which has no seed; name it alone")
    if len(set(listed)) < len(listed):
        raise InputError(f"{names}: an experiment is named twice")
    for first, name in combinations(listed, 2):
        differ = sides.differing(sides.parameters(first), sides.parameters(name))
        if differ != ["seed"]:
            more = sides.listed([key for key in differ if key != "seed"]) or "nothing"
            raise InputError(
                f"{first} and {name} differ in {more}: a side of several experiments is one recipe "
                "with different seeds"
            )
    return listed


def one_seed_note(names: list[str], system: str = "dense") -> str:
    """A warning if two recipes are compared by one training each; else ""."""
    differ = sides.differing(*map(sides.parameters, names))
    if differ == ["seed"]:
        return "Only the seed differs: this is the variation between seeds."
    teacher = f"cross-encoder:{TRAINED}"
    taught = any(sides.parameters(name).get("teacher.scores") == teacher for name in names)
    trained = TRAINING | {"rerank"} if taught or system == "reranked" else TRAINING
    if not {key.partition(".")[0] for key in differ} & trained:
        return ""
    return (
        "One seed each: a different seed may move the means as much. `python -m tools.diff "
        "A-42,A-43 B-42,B-43` compares recipes over several seeds."
    )


def means_by_topic(of_seeds: list[dict[str, float]]) -> dict[str, float]:
    """The mean over the seeds for each topic."""
    return {topic: fmean(values[topic] for values in of_seeds) for topic in of_seeds[0]}


def in_seeds(names: list[str], means: list[float]) -> str:
    """The mean of each seed, and how far they lie apart."""
    shown = ", ".join(f"{name} {mean:.4f}" for name, mean in zip(names, means, strict=True))
    return f"seeds: {shown}; mean {fmean(means):.4f}, range {max(means) - min(means):.4f}"


def require_depth(side: Side, measure: str) -> None:
    """Raises InputError if a measure is deeper than a side's search; a run file has no limit."""
    if side.collection is None:
        return
    top_k = sides.parameters(side.name)["search.top_k"]
    if (measures.cutoff(measure) or 0) > top_k:
        raise InputError(
            f"--measure {measure}: {side.name} has search.top_k {top_k}, which is too shallow; "
            "choose a different measure"
        )


def shared_topics(qrels: Qrels, found: list[Side], common: bool) -> Qrels:
    """The judgments for the comparison: all topics or, with `common`, the topics in all runs.

    An experiment searches every topic: its run lacks a topic if the search found nothing. A run
    file may come from a search with fewer topics.

    Raises:
        InputError: if the runs have different topics, unless `common` is set.
    """
    searched = {}
    for side in found:
        topics = qrels.keys() if side.collection is not None else qrels.keys() & side.run.keys()
        if not topics:
            raise InputError(
                f"{side.name}: data/collection judges no topic of this run; is it for a different "
                "collection?"
            )
        searched[side.name] = topics
    shared = set.intersection(*map(set, searched.values()))
    if common and not shared:
        raise InputError(f"{' and '.join(searched)} have no topic in common")
    if common and len(shared) < len(qrels):
        print(f"over the {len(shared)} topics that all runs have, of {len(qrels)} judged\n")
        return {query_id: grades for query_id, grades in qrels.items() if query_id in shared}
    if any(topics != shared for topics in searched.values()):
        counts = ", ".join(f"{name} has {len(topics)}" for name, topics in searched.items())
        raise InputError(
            f"of {len(qrels)} judged topics, {counts}, and {len(shared)} are the same; add "
            "--common to compare over the topics that all runs have. (`compare` counts a missing "
            "topic of a run in data/external_runs as 0.)"
        )
    if len(shared) < len(qrels):
        print(f"{len(qrels) - len(shared)} judged topics are in no run: each counts as 0\n")
    return qrels


def natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of topics")
    return int(text)


def measure_name(name: str) -> str:
    try:
        return measures.check_one(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    arguments = parser("tools.diff", __doc__)
    arguments.add_argument("before", help="first: revision, experiment, `workspace` or run file")
    arguments.add_argument("after", nargs="?", help="second: the same; none: seeds of one recipe")
    arguments.add_argument("--system", default="dense", choices=SYSTEMS, help="system to compare")
    arguments.add_argument("--split", default="test", choices=["test", "valid"])
    arguments.add_argument("--measure", default=measures.PRIMARY_MEASURE, type=measure_name)
    arguments.add_argument("--top", default=10, type=natural, help="topics to show (default: 10)")
    arguments.add_argument("--common", action="store_true", help="only topics that both runs have")
    chosen = arguments.parse_args()
    with one_line_errors("diff"):
        main(chosen)
