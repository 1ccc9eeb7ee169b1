"""The names that `data.collection` and `data.train` may have.

To add a source, write a module with `collection(request)`, `training(request)` or both, and add its
line to `SOURCES`. `dpr.sources.checked` cleans, checks and counts its records.
"""

from collections.abc import Callable
from typing import NamedTuple

from dpr.base.errors import InputError
from dpr.records.types import Item
from dpr.settings import DataSettings
from dpr.sources import beir_folder, hub, irds, medline, reference, text_pairs
from dpr.sources.types import Collection, Request, Training


class Readers(NamedTuple):
    collection: Callable[[Request], Collection] | None = None
    training: Callable[[Request], Training] | None = None


SOURCES = {
    "medline": Readers(medline.collection, medline.training),
    "medline-2021": Readers(medline.collection_2021, medline.training_2021),
    "trec-covid": Readers(reference.trec_covid),
    "msmarco-tiny": Readers(training=reference.msmarco_tiny),
    "beir:FOLDER": Readers(beir_folder.collection, beir_folder.training),
    "nanobeir:FOLDER": Readers(beir_folder.collection),  # an older name
    "hf:ORG/NAME": Readers(hub.collection, hub.training),
    "irds:ID": Readers(irds.collection, irds.training),
    "triples:FILE": Readers(training=text_pairs.triples),  # a path or a URL
    "pairs:FILE": Readers(training=text_pairs.pairs),
}


def open_collection(data: DataSettings) -> Collection:
    """The collection that `data.collection` names; InputError for an unknown name."""
    readers = {name: source.collection for name, source in SOURCES.items() if source.collection}
    return _open(readers, "data.collection", data.collection, data)


def open_training(data: DataSettings) -> list[Training]:
    """The training data of each source in `data.train`; InputError for an unknown name."""
    readers = {name: source.training for name, source in SOURCES.items() if source.training}
    return [_open(readers, "data.train", name, data) for name in data.source_names]


def _open(
    readers: dict[str, Callable[[Request], Item]], key: str, name: str, data: DataSettings
) -> Item:
    prefix, colon, location = name.partition(":")
    for pattern, read in readers.items():
        if pattern.partition(":")[:2] == (prefix, colon) and bool(location) == bool(colon):
            return read(Request(location, data))
    raise InputError(
        f"params.yaml: {key}: unknown source {name!r}; choose one of: {', '.join(readers)}"
    )
