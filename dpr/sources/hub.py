"""`hf:ORG/NAME`, `hf:ORG/NAME@REVISION#SUBSET`: a data set of the Hugging Face hub.

A repository in BEIR layout is read as in `beir_folder`; if it has no qrels, those of ORG/NAME-qrels
are taken (BeIR/scifact-qrels). Tables of pairs or triples train, as in `text_pairs`. Files are
downloaded once, into the hub's cache (HF_HOME), and read from there without a network.
"""

import re
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from huggingface_hub import get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dpr.base.errors import InputError, disk_error_message
from dpr.sources import text_pairs
from dpr.sources.beir_folder import QRELS, Folder, has_queries, is_beir
from dpr.sources.folders import chosen, find_tables, grouped
from dpr.sources.tables import FORMATS
from dpr.sources.types import Collection, Request, Training

_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([^#]+))?(?:#([\w.-]+))?")
# A text file of a repository is its license or the like.
_ENDS = [form + end for form in FORMATS if form != ".txt" for end in ("", ".gz", ".zst")]
_LAYOUT = {"corpus", "queries", *QRELS}  # folders that are no subsets


class Name(NamedTuple):
    repository: str
    revision: str | None = None
    subset: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"hf:{self.repository}{revision}" + (f"#{self.subset}" if self.subset else "")


def collection(request: Request) -> Collection:
    name = _parsed(request.location)
    folder, description = _fetched(name)
    if not is_beir(folder, name.subset):
        raise InputError(
            f"{name}: no corpus, queries and qrels in it: it cannot be searched; it may train "
            "(data.train)"
        )
    return _beir(name, folder, description).collection(request.data)


def training(request: Request) -> Training:
    """A BEIR layout's split "train", or the pairs of the table "train" or of the only one."""
    name = _parsed(request.location)
    folder, description = _fetched(name)
    if is_beir(folder, name.subset):
        return _beir(name, folder, description).training(request.data)
    files = _pairs(name, folder)
    return text_pairs.from_examples(request, files, text_pairs.read_pairs, description, str(name))


def _parsed(location: str) -> Name:
    match = _NAME.fullmatch(location)
    if not match:
        raise InputError(
            f"params.yaml: data: 'hf:{location}' is not hf:ORG/NAME or hf:ORG/NAME@REVISION, with "
            "or without #SUBSET"
        )
    return Name(*match.groups())


def _fetched(name: Name) -> tuple[Path, dict[str, Any]]:
    """The snapshot's folder, and the description for the manifest."""
    folder = _download(name)
    with suppress(CachedRepoTreeNotFoundError):  # a cache of an older version
        if name.subset and name.subset not in (subsets := _subsets(name, folder.name)):
            raise InputError(f"{name}: no such subset; there are: {', '.join(subsets) or '-'}")
    description = {"hub": name.repository, "commit": folder.name}
    return folder, description | ({"subset": name.subset} if name.subset else {})


def _download(name: Name) -> Path:
    patterns = [f"*{end}" for end in _ENDS]
    if subset := name.subset:
        inside = [f"{subset}/*{end}" for end in _ENDS]
        shards = [f"{subset}{more}{end}" for more in ("", "-*") for end in _ENDS]
        patterns = [f"{start}{rest}" for start in ("", "*/") for rest in inside + shards]
    try:
        return Path(
            snapshot_download(
                name.repository,
                repo_type="dataset",
                revision=name.revision,
                allow_patterns=patterns,
            )
        )
    except GatedRepoError:
        cure = "ask for access on its page, then log in: `hf auth login`"
        raise InputError(f"{name}: the hub gives it only on request; {cure}") from None
    except RepositoryNotFoundError:
        cure = "check the name, or log in: `hf auth login`"
        raise InputError(
            f"{name}: the hub has no such data set, or it is private; {cure}"
        ) from None
    except RevisionNotFoundError:
        raise InputError(
            f"{name}: it has no revision {name.revision!r}; give a branch, a tag or a commit"
        ) from None
    except Exception as error:  # no network, in the words of any library
        if disk_error_message(error):
            raise
        reason = (str(error) or repr(error)).splitlines()[0].partition(". ")[0]
        raise InputError(
            f"{name}: cannot be fetched, and the cache (HF_HOME) lacks it ({reason}). Fetch it "
            "once with a network, or download it by hand and give beir:FOLDER or pairs:FOLDER"
        ) from None


def _subsets(name: Name, commit: str) -> list[str]:
    """Folders, and the tables of the corpus or of the pairs, in the repository."""
    listed = get_cached_repo_tree(name.repository, repo_type="dataset", revision=commit)
    paths = [PurePosixPath(file.path) for file in listed if file.path.endswith(tuple(_ENDS))]
    folders = {part for path in paths for part in path.parts[:-1]} - _LAYOUT
    places = ("corpus", "data", ".")  # of tables
    tables = (
        grouped(Path(path) for path in sorted(paths) if str(path.parent) == place)
        for place in places
    )
    return sorted(folders.union(*tables))


def _beir(name: Name, folder: Path, description: dict[str, Any]) -> Folder:
    qrels = None
    judged = any(find_tables(folder / part) for part in QRELS)
    if not name.subset and not judged and has_queries(folder):
        second = Name(f"{name.repository}-qrels")
        try:
            qrels = _download(second)
        except InputError as error:
            raise InputError(f"{name}: no qrels in it; tried {error}") from None
        description |= {"qrels_hub": second.repository, "qrels_commit": qrels.name}
        qrels = qrels / QRELS[0] if (qrels / QRELS[0]).is_dir() else qrels
    space = f"hf:{name.repository}" + (f"#{name.subset}" if name.subset else "")
    return Folder.find(str(name), folder, name.subset or "", description, space, qrels)


def _pairs(name: Name, folder: Path) -> list[Path]:
    """The files of the table "train", or of the only table, of a subset."""
    paths = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    places = {str(path.relative_to(folder)): find_tables(path) for path in paths}
    places = {place: tables for place, tables in places.items() if tables}
    subset = name.subset
    if subset:  # the cache may have further ones
        within = {p: tables for p, tables in places.items() if subset in Path(p).parts}
        places = within or {p: tables for p, tables in places.items() if subset in tables}
    if len(places) > 1:
        raise InputError(f"{name}: choose a subset by {name}#SUBSET: {', '.join(places)}")
    tables = next(iter(places.values()), {})
    return chosen(tables, subset if subset in tables else None, str(name), usual="train")
