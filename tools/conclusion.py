"""What the figures say, one sentence each: the best system, the training, what costs, what to try.

The report, its terminal output, README and the model card print these sentences.
"""

from typing import Any, NamedTuple

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.evaluation.comparison import best_first
from dpr.evaluation.lengths import MANY, WORDS, truncated_texts
from dpr.evaluation.markdown_tables import ALPHA, no_gain_notes
from dpr.evaluation.power import Power
from dpr.measures import PRIMARY_MEASURE
from dpr.settings import Settings, load_settings
from tools import sides
from tools.systems import COMPARED

FEW = 50  # topics; Buckley and Voorhees (2000): at least 25, better 50
SEARCHED = "collection_passages"  # not the training passages, which `data.passages` leaves whole
TOKENS = 256  # that WORDS words have at most, in most texts
STEPS, LOWER = 70, 3  # of a first training; divides a learning rate that did not help


class Results(NamedTuple):
    """All that the sentences depend on.

    Attributes:
        compared: metrics/compare.json.
        lengths: metrics/lengths.json.
        training: the metrics of `train` by round.
        valid_topics: the number of validation topics.
    """

    collection: str
    compared: dict[str, Any]
    lengths: dict[str, dict[str, Any]]
    training: dict[str, dict[str, Any]]
    settings: Settings
    valid_topics: int

    @classmethod
    def here(cls) -> "Results":
        """Of this workspace."""
        collection, compared = read_json(sides.MANIFEST)["collection"], read_json(COMPARED)
        if compared.get("topics") != collection["judgments"]["test"]["queries"]:
            raise InputError(
                f"{COMPARED} is not of data/collection, {collection['name']}; `dvc repro compare` "
                "(a collection without judged test topics has no figures)"
            )
        return cls(
            collection["name"],
            compared,
            read_json("metrics/lengths.json"),
            sides.training(sides.WORKSPACE),
            load_settings("params.yaml"),
            collection["judgments"]["valid"]["queries"],
        )


class Gain(NamedTuple):
    """The tested difference of two systems, the first minus the second."""

    difference: float
    low: float
    high: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    detectable: float | None = None  # as in power.py; both None in files from before it
    topics_needed: int | None = None

    @property
    def significant(self) -> bool:
        return self.p_holm < ALPHA


def gain(compared: dict[str, Any], system: str, reference: str, measure: str) -> Gain:
    """Of any two systems, whichever comes first in metrics/compare.json."""
    against = compared["against"]
    if found := against.get(reference, {}).get(system):
        return Gain(**{key: found[measure][key] for key in Gain._fields if key in found[measure]})
    if against.get(system, {}).get(reference):
        of = gain(compared, reference, system, measure)
        difference, low, high = 0.0 - of.difference, 0.0 - of.high, 0.0 - of.low
        turned = of._replace(difference=difference, low=low, high=high)
        return turned._replace(wins=of.losses, losses=of.wins)
    raise InputError(f"{COMPARED}: no test of {system} and {reference}; `dvc repro compare`")


def conclude(results: Results) -> list[str]:
    """The sentences, the most important first."""
    found = [best(results), trained(results), *drawbacks(results), next_command(results)]
    return [sentence for sentence in found if sentence]


def best(results: Results) -> str:
    """The best system, and which systems are not significantly worse."""
    compared, topics = results.compared, results.compared["topics"]
    first, *rest = best_first(compared)
    gains = {system: gain(compared, first, system, PRIMARY_MEASURE) for system in rest}
    mean = compared["systems"][first][PRIMARY_MEASURE]["mean"]
    figure = f"{mean:.3f} over {topics} test topics of {results.collection}"
    above = {system: of for system, of in gains.items() if of.significant}
    tied = {system: of for system, of in gains.items() if not of.significant}
    if not tied:
        sentence = f"{first} is the best system: {PRIMARY_MEASURE} {figure}"
        return f"{sentence}, significantly above {_named(above)}."
    sentence = f"{first} has the highest {PRIMARY_MEASURE}, {figure}, but no significant lead over "
    sentence += f"{_named(tied)}."
    return f"{sentence} It is significantly above {_named(above)}." if above else sentence


def trained(results: Results) -> str:
    """The effect of the training."""
    if not results.settings.trains("first"):
        return "Nothing was trained: dense is zero_shot, the encoder before training."
    of = gain(results.compared, "dense", "zero_shot", PRIMARY_MEASURE)
    if not of.significant:
        verb = "made no significant difference"
    else:
        verb = "helped" if of.difference > 0 else "harmed the encoder"
    sentence = (
        f"Training {verb}: from zero_shot to dense {of.difference:+.3f} {PRIMARY_MEASURE} (95 % "
        f"interval {of.low:+.3f} to {of.high:+.3f}, {_p(of.p_holm)}); {of.wins} topics are "
        f"better, {of.ties} equal and {of.losses} worse."
    )
    if of.significant or of.detectable is None:
        return sentence
    power = Power(of.detectable, of.topics_needed)
    return f"{sentence} {power.in_words(results.compared['topics'], significant=False)}"


def drawbacks(results: Results) -> list[str]:
    """What makes these figures worse, or less sure, than they need to be."""
    compared, topics = results.compared, results.compared["topics"]
    notes = [no_gain_notes(results.training), truncated_texts(results.lengths)]
    if topics < FEW:
        notes.append(
            f"The test topics are few ({topics}), so only large differences are significant: "
            f"judge at least {FEW}."
        )
    if not results.valid_topics:
        weight = results.settings.fuse.default_weight
        notes.append(
            f"The collection has no validation topic, so hybrid has the default weight {weight} "
            "(fuse.default_weight)."
        )
    for system, count in compared.get("external", {}).items():
        if not count:
            notes.append(f"{system} is left out: its run has no topic and passage judged here.")
        elif count < topics:
            notes.append(
                f"The run of {system} has {count} of {topics} topics; the rest counts as 0."
            )
    return [note for note in notes if note]


def next_command(results: Results) -> str:
    """The experiment that these figures suggest."""
    settings, seed = results.settings, results.settings.seed
    suggestions = (
        (
            _truncates_passages(results),
            "cut the documents into passages, so that the encoder sees the whole text",
            f"dvc exp run -S data.passages.words={_words(results)}",
        ),
        (not settings.trains("first"), "train", f"dvc exp run -S train.max_steps={STEPS}"),
        (
            not _helped(results),
            "train with smaller steps",
            f"dvc exp run -S train.lr={settings.train.lr / LOWER:.0e}",
        ),
        (
            not settings.second.use,
            "add the second round, which trains the query encoder alone",
            "dvc exp run -S second.use=true",
        ),
        (
            True,
            "see how far a seed alone moves these figures, before you compare recipes",
            f"dvc exp run --queue -S seed={seed + 1},{seed + 2} && dvc queue start",
        ),
    )
    reason, command = next((why, what) for applies, why, what in suggestions if applies)
    return f"Next, {reason}: `{command}`"


def _truncates_passages(results: Results) -> bool:
    return results.lengths[SEARCHED]["truncated"] > MANY and not results.settings.data.cut


def _words(results: Results) -> int:
    """Of a passage that the encoder sees whole, with its title, in most texts."""
    return max(1, (results.lengths[SEARCHED]["limit"] or TOKENS) * WORDS // TOKENS)


def _helped(results: Results) -> bool:
    of = gain(results.compared, "dense", "zero_shot", PRIMARY_MEASURE)
    return of.significant and of.difference > 0


def _named(gains: dict[str, Gain]) -> str:
    """`rrf (+0.023, p = 0.004), dense (...)`; of more than two, the nearest alone has figures."""
    shown = [f"{system} ({of.difference:+.3f}, {_p(of.p_holm)})" for system, of in gains.items()]
    if len(shown) <= 2:
        return " and ".join(shown)
    return f"{shown[0]}, {', '.join(list(gains)[1:-1])} and {list(gains)[-1]}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
