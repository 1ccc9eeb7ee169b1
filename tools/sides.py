"""What is compared: the run of a revision, of an experiment, of the workspace, or of a file."""

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records.run import Run
from dpr.records.types import ENCODERS
from dpr.runs import trec
from stages import rounds
from tools import current

# The stage of dvc.yaml that makes the runs of a system.
MAKES = {"bm25": "bm25_search", "rrf": "fuse", "hybrid": "fuse"}
MAKES |= {system: f"search@{system}" for system in ENCODERS}
MANIFEST, WORKSPACE = "data/manifest.json", "workspace"


class Side(NamedTuple):
    """`collection` and `format` are None for a file, of which nothing else is known."""

    name: str
    run: Run
    collection: dict[str, str] | None  # fingerprints of passages, queries and judgments
    format: str | None  # in which the passages were encoded


def read(name: str, split: str, system: str) -> Side:
    """The run of a system at a revision, an experiment or `workspace`; or a run file."""
    if Path(name).is_file():
        return Side(name, trec.read_run(name), None, None)
    encoder = system if system in ENCODERS else "dense"
    manifest = f"data/embeddings/{encoder}/manifest.json"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / f"{system}.txt"
        run.write_text(text(name, f"data/runs/{split}/{system}.txt"), encoding="utf-8")
        return Side(
            name,
            trec.read_run(run),
            fingerprints(json.loads(text(name, MANIFEST)), split),
            None if system == "bm25" else _format(name, manifest),
        )


def training(name: str) -> dict[str, dict[str, Any]]:
    """The metrics of `train`, by round."""
    return {
        round: json.loads(text(name, f"metrics/train{suffix}.json"))
        for round, suffix in rounds.SUFFIX.items()
    }


def depth(side: Side) -> int | None:
    """Its search.top_k; None for a file."""
    if side.collection is None:
        return None
    params = YAML(typ="safe", pure=True).load(text(side.name, "params.yaml"))
    found: int = params["search"]["top_k"]
    return found


def stale(name: str, *stages: str) -> str | None:
    """As `current.stale`; of a run file nothing is known."""
    if Path(name).is_file():
        return None
    return current.stale(*stages, rev=None if name == WORKSPACE else name)


def here(split: str) -> dict[str, str]:
    """The fingerprints of data/collection."""
    return fingerprints(read_json(MANIFEST), split)


def fingerprints(manifest: dict[str, Any], split: str) -> dict[str, str]:
    collection = manifest["collection"]
    parts = {
        "passages": collection["passages"],
        "queries": collection["queries"],
        f"judgments ({split})": collection["judgments"][split],
    }
    # A manifest of an earlier commit has fewer of them.
    return {part: values["sha256"] for part, values in parts.items() if "sha256" in values}


def require_this_collection(side: Side, split: str) -> None:
    """Raises InputError if a side was made on other passages, queries or judgments than these."""
    known = here(split)
    for part, found in (side.collection or {}).items():
        if found != known.get(part, found):
            raise InputError(
                f"{side.name}: its {part} are not those of data/collection here, so its figures "
                "do not compare; check out a commit with the same data, and compare there"
            )


def _format(side: str, manifest: str) -> str | None:
    """The format that embeddings say; None if they are not in the cache any more."""
    try:
        return str(json.loads(text(side, manifest))["format"])
    except InputError:
        return None


def text(side: str, path: str) -> str:
    """A file of a side."""
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        if side == WORKSPACE:
            return Path(path).read_text(encoding="utf-8")
        return str(dvc.api.read(path, rev=side))
    except (DvcException, SCMError, OSError) as error:
        raise InputError(
            f"{side}: neither a run file nor a revision whose {path} is in DVC's cache here "
            f"({error}); `dvc exp show` lists the experiments, and a commit of results made on "
            "another machine is not in this cache: run `make repro` and commit dvc.lock"
        ) from None
