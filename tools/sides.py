"""A side of a comparison: a revision, an experiment, the workspace, or a run file."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dvc.exceptions import DvcException
from dvc.scm import RevError
from dvc.utils.flatten import flatten
from dvc_data.index import DataIndexDirError
from ruamel.yaml import YAML

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records.run import Run
from dpr.records.types import ENCODERS
from dpr.runs import trec
from stages import rounds

WORKSPACE, MANIFEST = "workspace", "data/manifest.json"
# The stage of dvc.yaml that writes the run of a system.
STAGE_OF = {"bm25": "bm25_search", "rrf": "fuse", "hybrid": "fuse", "reranked": "rerank"}
STAGE_OF |= {system: f"search@{system}" for system in ENCODERS}
OUTPUTS = ("data/", "metrics/", "plots/")  # of all stages
LISTED = 4  # changed names in a message


class Side(NamedTuple):
    """The run of a side. For a run file, the last two fields are None."""

    name: str
    run: Run
    collection: dict[str, str] | None  # fingerprints of passages, queries and judgments
    format: str | None  # the number format of the passage vectors


def read(name: str, split: str, system: str) -> Side:
    """The run of a system on a side."""
    if Path(name).is_file():
        return Side(name, trec.read_run(name), None, None)
    collection = fingerprints(json.loads(text(name, MANIFEST)), split)
    base: str = system
    if system == "reranked":
        values = parameters(name)
        if not values.get("rerank.model"):
            raise InputError(f"{name}: it has no system reranked, since rerank.model is null there")
        base = values["rerank.run"]
    format = None if base == "bm25" else _format(name, base if base in ENCODERS else "dense")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{system}.txt"
        file.write_text(text(name, f"data/runs/{split}/{system}.txt"), encoding="utf-8")
        return Side(name, trec.read_run(file), collection, format)


def text(side: str, path: str) -> str:
    """The text of a file on a side. Raises InputError if the side or its file is not here."""
    import dvc.api
    from scmrepo.exceptions import SCMError

    try:
        if side == WORKSPACE:
            return Path(path).read_text(encoding="utf-8")
        return str(dvc.api.read(path, rev=side))
    except OSError as error:
        if side == WORKSPACE:
            raise InputError(f"{path}: missing here; `dvc repro` makes it") from None
        reason = f" ({error})"
    except (RevError, SCMError):
        raise InputError(
            f"{side}: no run file, experiment or revision has this name; `dvc exp list -A` lists "
            "the experiments"
        ) from None
    except (DvcException, DataIndexDirError):
        reason = ""
    raise InputError(
        f"{side}: DVC's cache lacks {path} of that revision{reason}. If its results were made on a "
        "different machine, run `make repro` here, commit, and compare with your commit; or "
        "`dvc pull` them from a remote"
    )


def parameters(side: str) -> dict[str, Any]:
    """{"train.lr": 5e-5} of params.yaml on a side."""
    return flat(text(side, "params.yaml"))


def flat(text: str) -> dict[str, Any]:
    """The same of any YAML or JSON text with nested groups."""
    values: dict[str, Any] = flatten(YAML(typ="safe", pure=True).load(text))
    return values


def differing(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The parameters that two sides have not in common, in order."""
    return [key for key in before | after if before.get(key) != after.get(key)]


def training(side: str) -> dict[str, dict[str, Any]]:
    """The metrics of `train`, by round."""
    return {
        name: json.loads(text(side, f"metrics/train{suffix}.json"))
        for name, suffix in rounds.SUFFIX.items()
    }


def fingerprints(manifest: dict[str, Any], split: str) -> dict[str, str]:
    """The sha256 of passages, queries and judgments, if the manifest has them."""
    parts = {part: manifest["collection"][part] for part in ("passages", "queries")}
    parts[f"judgments ({split})"] = manifest["collection"]["judgments"][split]
    return {part: values["sha256"] for part, values in parts.items() if "sha256" in values}


def require_this_collection(side: Side, split: str) -> None:
    """Raises InputError if passages, queries or judgments differ from data/collection."""
    known = fingerprints(read_json(MANIFEST), split)
    for part, fingerprint in (side.collection or {}).items():
        if fingerprint != known.get(part, fingerprint):
            raise InputError(
                f"{side.name}: its {part} differ from those in data/collection, so the figures "
                "are not comparable; check out a commit with the same data, and compare there"
            )


def stale(*stages: str, side: str = WORKSPACE) -> str | None:
    """A message if DVC would make different outputs for these stages; else None.

    In the workspace DVC checks every file that the stages depend on. For a revision, it compares
    parameters and code with dvc.lock. A run file is never stale.

    Args:
        stages: names as in dvc.yaml; none: all.
    """
    if Path(side).is_file():
        return None
    if side == WORKSPACE and not Path("data/collection").exists():
        return "nothing has been run here: `make repro`, or `dvc pull` if there is a remote"
    try:
        changes = list(dict.fromkeys(_changes(stages, None if side == WORKSPACE else side)))
    except DvcException as error:
        return f"DVC cannot tell whether the figures match code and parameters: {error}"
    if not changes:
        return None
    where = "this workspace" if side == WORKSPACE else side
    return (
        f"{where}: the figures do not match code and parameters "
        f"(changed: {listed(changes)}); `dvc repro` updates them"
    )


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def warn(*stages: str) -> None:
    """Print the message of `stale` on stderr, if there is one."""
    if message := stale(*stages):
        print(f"note: {message}", file=sys.stderr)


def require(*stages: str) -> None:
    """Raises InputError with the message of `stale`, if there is one."""
    if message := stale(*stages):
        raise InputError(message)


def _changes(stages: tuple[str, ...], rev: str | None) -> Iterator[str]:
    """The parameters, commands and files that differ from dvc.lock."""
    from dvc.repo import Repo  # takes a second to load

    with Repo(".", rev=rev) as repo:
        for target in stages or (None,):
            for stage, _ in repo.stage.collect_granular(target, with_deps=target is not None):
                if stage.changed_stage():
                    yield f"cmd of {stage.addressing}"
                for file in [*stage.deps, *stage.outs]:
                    if rev is None or not file.def_path.startswith(OUTPUTS):
                        for path, change in file.status().items():
                            # {"params.yaml": {"train": "modified"}} or {"dpr/base": "modified"}
                            yield from change if isinstance(change, dict) else [path]


def _format(side: str, encoder: str) -> str | None:
    """The number format of the embeddings; None if DVC's cache lacks them."""
    try:
        return str(json.loads(text(side, f"data/embeddings/{encoder}/manifest.json"))["format"])
    except InputError:
        return None
