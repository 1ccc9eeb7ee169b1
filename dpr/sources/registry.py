"""The names that `data.collection` and `data.train` may have, and the source of each.

To add a source: a module that returns `Collection`, `Training` or both, and its cases here.
"""

from dataclasses import replace
from pathlib import Path

from dpr.base.errors import InputError
from dpr.settings import DataSettings
from dpr.sources import beir_folder, irds, medline, medline_2021, nanobeir, reference, text_pairs
from dpr.sources.sampling import draw
from dpr.sources.types import Collection, Training

COLLECTIONS = ["medline", "medline-2021", "trec-covid", "beir:FOLDER", "nanobeir:FOLDER", "irds:ID"]
TRAINING = [
    *["medline", "medline-2021", "msmarco-tiny", "beir:FOLDER", "irds:ID"],
    *["triples:FILE", "pairs:FILE", "triples:URL", "pairs:URL", "or several: NAME + NAME"],
]
DOWNLOADS = Path(".scratch/downloads")


def open_collection(data: DataSettings) -> Collection:
    """The source that `data.collection` names.

    Raises:
        InputError: for a name that is not in `COLLECTIONS`.
    """
    match data.collection.partition(":"):
        case ("medline", "", ""):
            return medline.collection(data.medline)
        case ("medline-2021", "", ""):
            return medline_2021.collection()
        case ("trec-covid", "", ""):
            return reference.trec_covid(data.topic_field)
        case ("beir", ":", folder) if folder:
            return beir_folder.collection(Path(folder), data.split)
        case ("nanobeir", ":", folder) if folder:
            return nanobeir.collection(Path(folder))
        case ("irds", ":", identifier) if identifier:
            return irds.collection(identifier)
    raise _unknown("data.collection", data.collection, COLLECTIONS)


def open_training(data: DataSettings, downloads: Path = DOWNLOADS) -> list[Training]:
    """The sources that `data.train` names, with ` + ` between them; `mix` makes them one.

    Args:
        downloads: the folder that keeps what is fetched by URL.
    Raises:
        InputError: for a name that is not in `TRAINING`.
    """
    return [_open_training(name, data, downloads) for name in data.sources]


def _open_training(name: str, data: DataSettings, downloads: Path) -> Training:
    limit, held_out, seed = data.train_limit, data.held_out, data.held_out_seed
    match name.partition(":"):
        case ("medline", "", ""):
            return _limited(medline.training(data.medline), limit, seed)
        case ("medline-2021", "", ""):
            return _limited(medline_2021.training(held_out, seed), limit, seed)
        case ("msmarco-tiny", "", ""):
            return reference.msmarco_tiny(downloads, limit, held_out, seed)
        case ("beir", ":", folder) if folder:
            return beir_folder.training(Path(folder), data.split, limit, held_out, seed)
        case ("irds", ":", identifier) if identifier:
            return irds.training(identifier, limit, held_out, seed)
        case ("triples" | "pairs" as kind, ":", place) if place:
            read = text_pairs.read_triples if kind == "triples" else text_pairs.read_pairs
            return text_pairs.from_file(place, read, downloads, limit, held_out, seed)
    raise _unknown("data.train", name, TRAINING)


def _limited(training: Training, limit: int | None, seed: int) -> Training:
    return replace(training, pairs=draw(training.pairs, limit, seed))


def _unknown(key: str, name: str, known: list[str]) -> InputError:
    return InputError(f"params.yaml: {key}: {name!r} is none of: {', '.join(known)}")
