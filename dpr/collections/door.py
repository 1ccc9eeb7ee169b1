"""The one door: names of `data.collection` and `data.train` to the records they stand for."""

from dataclasses import replace
from pathlib import Path

from dpr.collections import beir_folder, irds, medline, medline_2021, triples
from dpr.collections.mixture import mix
from dpr.collections.records import Collection, Training
from dpr.errors import InputError
from dpr.settings import DataSettings

COLLECTIONS = ["medline", "medline-2021", "trec-covid", "beir:FOLDER", "irds:ID"]
TRAINING = [
    *["medline", "medline-2021", "msmarco-tiny", "beir:FOLDER", "irds:ID"],
    *["triples:FILE", "pairs:FILE", "or several: NAME + NAME"],
]


def open_collection(data: DataSettings) -> Collection:
    """What `data.collection` names.

    Raises:
        InputError: for a name that is none of `COLLECTIONS`.
    """
    match data.collection.partition(":"):
        case ("medline", "", ""):
            return medline.collection(data.medline)
        case ("medline-2021", "", ""):
            return medline_2021.collection()
        case ("trec-covid", "", ""):
            return irds.trec_covid(data.topic_field)
        case ("beir", ":", folder) if folder:
            return beir_folder.collection(Path(folder), data.split)
        case ("irds", ":", identifier) if identifier:
            return irds.collection(identifier)
    raise _unknown("data.collection", data.collection, COLLECTIONS)


def open_training(data: DataSettings) -> Training:
    """What `data.train` names: one of `TRAINING`, or several with ` + ` between them.

    Raises:
        InputError: for a name that is none of `TRAINING`.
    """
    return mix([_open_training(name, data) for name in data.train.split(" + ")])


def _open_training(name: str, data: DataSettings) -> Training:
    limits = (data.train_limit, data.held_out, data.held_out_seed)
    match name.partition(":"):
        case ("medline", "", ""):
            return _first_pairs(medline.training(data.medline), data.train_limit)
        case ("medline-2021", "", ""):
            return _first_pairs(medline_2021.training(*limits[1:]), data.train_limit)
        case ("msmarco-tiny", "", ""):
            return irds.msmarco_tiny(*limits)
        case ("beir", ":", folder) if folder:
            return beir_folder.training(Path(folder), data.split, *limits)
        case ("irds", ":", identifier) if identifier:
            return irds.training(identifier, *limits)
        case ("triples", ":", file) if file:
            return triples.from_file(Path(file), triples.read_triples(Path(file)), *limits)
        case ("pairs", ":", file) if file:
            return triples.from_file(Path(file), triples.read_pairs(Path(file)), *limits)
    raise _unknown("data.train", name, TRAINING)


def _first_pairs(training: Training, limit: int | None) -> Training:
    return replace(training, pairs=list(triples.take(training.pairs, limit)))


def _unknown(key: str, name: str, known: list[str]) -> InputError:
    return InputError(f"params.yaml: {key}: {name!r} is none of: {', '.join(known)}")
