"""The names that `data.collection` and `data.train` may have.

To add a source, write a module with `collection(request)`, `training(request)` or both, and add its
line to `SOURCES`. Cleaning, checks and counts come later, in `dpr.sources.checked`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dpr.base.errors import InputError
from dpr.settings import DataSettings
from dpr.sources import beir_folder, irds, medline, nanobeir, reference, text_pairs
from dpr.sources.types import Collection, Item, Request, Training


class Source(NamedTuple):
    collection: Callable[[Request], Collection] | None = None
    training: Callable[[Request], Training] | None = None


SOURCES = {
    "medline": Source(medline.collection, medline.training),
    "medline-2021": Source(medline.collection_2021, medline.training_2021),
    "trec-covid": Source(reference.trec_covid),
    "msmarco-tiny": Source(training=reference.msmarco_tiny),
    "beir:FOLDER": Source(beir_folder.collection, beir_folder.training),
    "nanobeir:FOLDER": Source(nanobeir.collection),
    "irds:ID": Source(irds.collection, irds.training),
    "triples:FILE": Source(training=text_pairs.triples),  # a path or a URL
    "pairs:FILE": Source(training=text_pairs.pairs),
}
DOWNLOADS = Path(".scratch/downloads")


def open_collection(data: DataSettings, downloads: Path = DOWNLOADS) -> Collection:
    """The collection that `data.collection` names; InputError for an unknown name."""
    known = {name: s.collection for name, s in SOURCES.items() if s.collection}
    return _open(known, "data.collection", data.collection, data, downloads)


def open_training(data: DataSettings, downloads: Path = DOWNLOADS) -> list[Training]:
    """The sources that `data.train` names, separated by ` + `; InputError for an unknown name.

    Args:
        downloads: the folder that keeps files fetched by URL.
    """
    known = {name: s.training for name, s in SOURCES.items() if s.training}
    return [_open(known, "data.train", name, data, downloads) for name in data.source_names]


def _open(
    known: dict[str, Callable[[Request], Item]],
    key: str,
    name: str,
    data: DataSettings,
    downloads: Path,
) -> Item:
    prefix, colon, place = name.partition(":")
    for pattern, read in known.items():
        if pattern.partition(":")[:2] == (prefix, colon) and bool(place) == bool(colon):
            return read(Request(place, data, downloads))
    raise InputError(
        f"params.yaml: {key}: unknown source {name!r}; choose one of: {', '.join(known)}"
    )
