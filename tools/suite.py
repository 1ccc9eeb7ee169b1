"""Compare the systems on several collections: figures by collection, and their means.

Reads params.yaml, runs the experiment on each collection and prints tables; .scratch/suite.csv has
the same figures. The encoder is trained once, on data.train. Collections are values of
data.collection; parameters for one collection follow it after commas. If a collection fails, the
rest still run, and the last line names it. A second call only runs experiments that failed.

    python -m tools.suite medline medline-2021 beir:/PATH/cacm
    python -m tools.suite "beir:/PATH/arguana,data.drop_query_id=true" -S train.max_steps=0
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import dvc.api
from dvc.exceptions import DvcException
from dvc.scm import RevError
from dvc.utils.hydra import apply_overrides
from hydra.errors import OverrideParseException

from dpr.base.errors import InputError
from dpr.base.files import fingerprint, write_csv
from dpr.evaluation import markdown_tables
from dpr.measures import PRIMARY_MEASURE
from dpr.settings import Settings, load_settings
from stages.run import SCRATCH, one_line_errors, parser
from tools.overrides import quoted
from tools.repro import with_this_python

MEASURES = (PRIMARY_MEASURE, "recall@100")
COMPARED, PARAMS = "metrics/compare.json", Path("params.yaml")
# The parameters that may name files, by group; each group has a `version`.
NAMING = {"data": ("collection", "train"), "model": ("name", "query_name"), "teacher": ("scores",)}


def main(collections: list[str], changes_of_all: list[str]) -> None:
    jobs = [(argument, *job(argument, changes_of_all)) for argument in collections]
    for argument, _, changes in jobs:
        if missing := {*MEASURES} - {*changed(changes).eval.measures}:
            raise InputError(f"{argument}: eval.measures: the tables need {', '.join(missing)}")
    compared: dict[str, dict[str, Any]] = {}
    failed = []
    for argument, collection, changes in jobs:
        try:
            figures = results(collection, changes)
        except InputError as error:
            print(error, file=sys.stderr)
            failed.append(argument)
        else:
            name = Path(collection).name  # short, unless two collections share it
            compared[argument if name in compared else name] = figures
    if compared:
        for measure in MEASURES:
            print(markdown_tables.collections_table(compared, measure), end="\n\n")
        print(markdown_tables.collections_tests_table(compared, PRIMARY_MEASURE))
        rows = markdown_tables.collections_rows(compared, MEASURES)
        write_csv(SCRATCH / "suite.csv", ["collection", "system", "measure", "mean"], rows)
    if failed:
        raise InputError(f"failed: {', '.join(failed)}; the same command tries them again")


def job(argument: str, changes: list[str]) -> tuple[str, dict[str, str]]:
    """The collection of an argument, and the parameters to change for it."""
    path = argument.partition(":")[2]
    whole = path and Path(path).exists()  # a path may have a comma
    collection, *own = [argument] if whole else re.split(r",(?=[\w.]+=)", argument)
    changes = [*changes, *own]
    if wrong := [change for change in changes if "=" not in change]:
        raise InputError(f"{wrong[0]!r} is not KEY=VALUE")
    return collection, dict(map(_change, changes))


def _change(argument: str) -> tuple[str, str]:
    """Key and value. A value that may name files is text, which needs quotes."""
    key, value = argument.split("=", 1)
    group, _, name = key.partition(".")
    text = name in NAMING.get(group, ()) and value != "null" and value[:1] not in ("'", '"')
    return key, quoted(value) if text else value


def results(collection: str, changes: dict[str, str]) -> dict[str, Any]:
    """metrics/compare.json of the experiment on a collection, which runs only once.

    DVC runs it in a copy of the workspace, and takes the training from its cache. The name of the
    experiment hashes code, parameters and external files, so identical experiments run once.

    Args:
        collection: a value of data.collection; a folder may be relative.
        changes: more parameters, as for `dvc exp run -S`.
    Raises:
        InputError: for parameters that do not load, or if the experiment fails.
    """
    folder = collection.removeprefix("beir:").partition("#")[0]
    if folder != collection.partition("#")[0] and not Path(folder).exists():
        raise InputError(f"{collection}: no such folder")
    changes = {"data.collection": quoted(collection), **changes}
    changes |= {key: quoted(value) for key, value in outside(changed(changes)).items()}
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", Path(collection).name)  # git allows it in a ref
    name = f"suite-{readable}-{_key(changes)}"
    with suppress(RevError):  # no experiment has this name
        return _read(name)
    overrides = [part for key, value in changes.items() for part in ("-S", f"{key}={value}")]
    command = ["dvc", "exp", "run", "--temp", "--name", name, *overrides]
    print(f"{collection}: {' '.join(command)}", file=sys.stderr)
    python = [sys.executable, "-m"]
    done = subprocess.run([*python, *command], stdout=sys.stderr, env=with_this_python())
    if done.returncode:
        raise InputError(f"{collection}: its experiment failed; see above")
    return _read(name)


def changed(changes: dict[str, str]) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        params = Path(folder) / PARAMS.name
        params.write_bytes(PARAMS.read_bytes())
        try:
            apply_overrides(params, [f"{key}={value}" for key, value in changes.items()])
        except DvcException as error:
            quotes = isinstance(error.__cause__, OverrideParseException)
            hint = "\na text needs quotes within quotes: -S 'KEY=\"TEXT\"'" if quotes else ""
            raise InputError(f"-S: {error.__cause__ or error}{hint}") from None
        return load_settings(params)


def outside(settings: Settings) -> dict[str, str]:
    """Changes that let an experiment in a copy of the workspace find external files.

    Paths become absolute. A group's `version` gets the fingerprint of its files, so that DVC reads
    changed files again.
    """
    changes = {}
    for group, keys in NAMING.items():
        values, files = getattr(settings, group), []
        for key in keys:
            value = getattr(values, key) or ""
            names = [_absolute(group, name) for name in value.split(" + ")]
            if paths := [path for _, path in names if path]:
                files += paths
                changes[f"{group}.{key}"] = " + ".join(name for name, _ in names)
        if files:
            changes[f"{group}.version"] = f"{values.version or 'v'}-{fingerprint(files)[:8]}"
    return changes


def _absolute(group: str, name: str) -> tuple[str, Path | None]:
    """The name with an absolute path, and the path; for a name such as medline, itself and None."""
    kind, colon, path = ("", "", name) if group == "model" else name.partition(":")
    if not path or not Path(path).exists():
        return name, None
    return f"{kind}{colon}{Path(path).absolute()}", Path(path)


def _key(changes: dict[str, str]) -> str:
    """A hash of the commit, the uncommitted changes, and the parameters."""
    try:
        git = [
            subprocess.run(["git", *command], capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "HEAD"], ["diff", "HEAD"])
        ]
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", error)).strip()
        raise InputError(f"an experiment needs a git repository with a commit ({reason})") from None
    return hashlib.sha256(json.dumps([git, changes]).encode()).hexdigest()[:8]


def _read(name: str) -> dict[str, Any]:
    """The figures of an experiment. Raises RevError if no experiment has this name."""
    figures: dict[str, Any] = json.loads(dvc.api.read(COMPARED, rev=name))
    return figures


if __name__ == "__main__":
    arguments = parser("tools.suite", __doc__)
    arguments.add_argument("collections", nargs="+", help="NAME or NAME,KEY=VALUE,...")
    arguments.add_argument(
        "-S", dest="set", action="append", default=[], metavar="KEY=VALUE", help="for all of them"
    )
    chosen = arguments.parse_args()
    with one_line_errors("suite"):
        main(chosen.collections, chosen.set)
