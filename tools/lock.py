"""Mend a dvc.lock that a kill has cut: DVC writes it in place.

Reads dvc.lock; if it is cut, writes the one of the last commit. What has been computed since then
is not lost: `dvc repro` takes it from DVC's run cache. One that is damaged in another way, as by a
merge, is named and left as it is. `make repro` calls it.

    python -m tools.lock
"""

import re
import subprocess
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid

from dpr.base.errors import InputError
from stages.run import one_line_errors, parser

LOCK = Path("dvc.lock")
CONFLICT = re.compile(r"^(<<<<<<<|=======|>>>>>>>)", re.MULTILINE)
BEGIN = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"^  \S+:$", re.MULTILINE)  # where a stage begins


def main() -> None:
    if not LOCK.exists():
        return
    try:
        Lockfile(Repo("."), str(LOCK)).load()
        print(f"{LOCK}: whole")
        return
    except DvcException as error:
        damage = " ".join(str(error).split())
    text = LOCK.read_text(encoding="utf-8", errors="replace")
    if CONFLICT.search(text):
        raise InputError(
            f"{LOCK}: has conflicts of a merge; take one side (`git checkout --ours {LOCK}`, or "
            "--theirs), then run `dvc repro`, which makes what is not of the merged code"
        )
    if not is_cut(text):
        raise InputError(
            f"{LOCK}: damaged, but not cut by a kill ({damage}); mend it, or `git restore {LOCK}`"
        )
    shown = subprocess.run(["git", "show", f"HEAD:{LOCK}"], capture_output=True, check=False)
    if shown.returncode:
        raise InputError(
            f"{LOCK}: cut, and the last commit has none: remove it and run `dvc repro`"
        )
    LOCK.write_bytes(shown.stdout)
    print(f"{LOCK}: was cut by a kill; now that of the last commit")


def is_cut(text: str) -> bool:
    """Whether all is sound before the stage that it ends in."""
    if not text.startswith(BEGIN):
        return BEGIN.startswith(text)
    before = text[: max((found.start() for found in STAGE.finditer(text)), default=0)]
    if before in ("", BEGIN):  # it ends in its first stage
        return True
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(before))
    except (YAMLError, Invalid):
        return False
    return True


if __name__ == "__main__":
    parser("tools.lock", __doc__).parse_args()
    with one_line_errors("lock"):
        main()
