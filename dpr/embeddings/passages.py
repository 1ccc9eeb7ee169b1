"""Encoding a corpus: memory is bounded by a window of passages, and a killed run resumes."""

import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

from dpr.base.environment import ENCODING, installed
from dpr.base.errors import InputError
from dpr.base.files import link_or_copy, new_folder, read_json, sha256, write_json
from dpr.base.processes import SINGLE, ProcessGroup
from dpr.base.progress import say
from dpr.base.resume import Work
from dpr.embeddings.artifact import MANIFEST, VECTORS, Embeddings
from dpr.embeddings.windows import DONE, encode_windows
from dpr.encoders.embedder import Embedder
from dpr.records.corpus import Corpus
from dpr.records.ids import ENDS, LINES
from dpr.settings import EncodeSettings

FILES = (VECTORS, LINES, ENDS, MANIFEST)
CODE = ("dpr/base", "dpr/embeddings", "dpr/encoders", "dpr/records", "dpr/similarity.py")
PLACES = 8  # folders that have the same embeddings, the latest first


def encode_passages(
    embedder: Embedder,
    corpus: Corpus,
    options: EncodeSettings,
    folder: Path,
    scratch: Path,
    processes: ProcessGroup = SINGLE,
) -> Embeddings:
    """Encode a corpus into the embeddings artifact `folder`, each process some windows.

    A killed run leaves its complete windows in a subfolder of `scratch`, named by a key. The next
    run with the same inputs resumes there and ends with the same bytes: on a CPU with any number of
    processes that have as many threads each (`threads`), on a GPU with any. The finished artifact
    stays there, and `folder` has links to its files, or copies on another file system.

    Raises:
        InputError: for an empty corpus, a vector that is not finite, a disk without room for the
            vectors, or processes that see other corpora or would make other vectors.
    """
    count = corpus.passage_count()  # a corpus that is missing or empty is an error before the work
    processes.require_equal(count, f"{corpus.file}: passages")
    inputs = {
        "work": "encode",
        "encoder": embedder.passage_side,
        "passages": sha256(corpus.file),
        "data.separator": corpus.separator,
        "number format": [embedder.format, embedder.engine],
        **{f"encode.{name}": value for name, value in options.model_dump().items()},
    }
    unfinished = Work.of(scratch, inputs, CODE, embedder.device, kind=str(folder))
    _require_equal_keys(unfinished.key, processes)
    work, made = unfinished.folder, scratch / f"{unfinished.key}.json"
    # The first process takes the lock for all.
    with unfinished.locked() if processes.is_first else nullcontext():
        known = processes.is_first and (_finished(unfinished) or _copied(made, folder, work))
        (known_to_first,) = processes.broadcast((float(known),))
        if not known_to_first:
            if processes.is_first:
                unfinished.begin()
            encode_windows(embedder, corpus, options, count, work, processes)
        if processes.is_first:
            if not known:
                _write_manifest(embedder, options, count, work)
            unfinished.end()  # until now a killed run went on with its windows
            shutil.rmtree(work / DONE, ignore_errors=True)
            with new_folder(folder) as partial:
                for name in FILES:
                    link_or_copy(work / name, partial / name)
            digest, places = _sha256_of(folder), [str(folder.resolve()), *_places(made)]
            living = [one for one in dict.fromkeys(places) if _sha256_of(Path(one)) == digest]
            write_json(made, {"folders": living[:PLACES], "sha256": digest})
        processes.wait()
    return Embeddings.open(folder)


def _require_equal_keys(key: str, processes: ProcessGroup) -> None:
    number = float(int(key[:12], 16))
    if processes.broadcast((number,)) != (number,):
        raise InputError(
            f"process {processes.rank + 1} would make other vectors than the first: another "
            "processor, params.yaml, version or number of threads; take equal machines, and set "
            "`threads` if their numbers of cores differ"
        )


def _write_manifest(embedder: Embedder, options: EncodeSettings, count: int, work: Path) -> None:
    manifest = {
        "count": count,
        "dimension": embedder.dimension,
        "dtype": options.dtype,
        "encoder": {"sha256": embedder.passage_side, **embedder.spec.passage_side()},
        "format": embedder.format,
        "ids_sha256": sha256(work / LINES),
        "sha256": sha256(work / VECTORS),
        "similarity": embedder.spec.similarity,
        "versions": installed(*ENCODING),
    }
    write_json(work / MANIFEST, manifest)


def _finished(work: Work) -> bool:
    """Whether this was encoded before and is still whole; what is not, is removed."""
    if not work.is_finished:
        return False
    if _is_whole(work.folder):
        say(f"{work.folder}: encoded before, used again")
        return True
    shutil.rmtree(work.folder)
    return False


def _is_whole(folder: Path) -> bool:
    try:
        return sha256(folder / VECTORS) == Embeddings.open(folder).manifest["sha256"]
    except (OSError, InputError):
        return False


def _sha256_of(folder: Path) -> str | None:
    """Of the vectors there, as the manifest says; None without one."""
    try:
        return str(read_json(folder / MANIFEST)["sha256"])
    except (OSError, InputError, KeyError, TypeError):
        return None


def _places(made: Path) -> list[str]:
    return list(read_json(made)["folders"]) if made.exists() else []


def _copied(made: Path, folder: Path, work: Path) -> bool:
    """Whether another folder had the same embeddings, which are now in `work`.

    `made` says where they were written last. An encoder whose passage side was not trained is not
    encoded again.
    """
    for other in map(Path, _places(made)):
        if other == folder.resolve() or _sha256_of(other) != read_json(made)["sha256"]:
            continue
        with suppress(OSError, InputError), new_folder(work) as partial:
            # The other folder is not locked: what counts is what has been copied.
            shutil.copytree(other, partial, dirs_exist_ok=True)
            if not _is_whole(partial):
                raise InputError(f"{other}: damaged")  # what a killed run left in `work` stays
            return True
    return False
