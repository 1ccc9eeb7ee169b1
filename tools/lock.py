"""Mend a dvc.lock that a kill has cut: DVC writes it in place.

Reads dvc.lock; if DVC cannot read it, writes the one of the last commit. What has been computed
since then is not lost: `dvc repro` takes it from DVC's run cache. `make repro` calls it.

    python -m tools.lock
"""

import subprocess
from pathlib import Path

from dvc.dvcfile import Lockfile
from dvc.exceptions import DvcException
from dvc.repo import Repo

from dpr.base.errors import InputError
from stages.run import parser, told_in_one_line

LOCK = Path("dvc.lock")


def main() -> None:
    if not LOCK.exists():
        return
    try:
        Lockfile(Repo("."), str(LOCK)).load()
        print(f"{LOCK}: whole")
    except DvcException:
        shown = subprocess.run(["git", "show", f"HEAD:{LOCK}"], capture_output=True, check=False)
        if shown.returncode:
            raise InputError(
                f"{LOCK}: cut, and the last commit has none: remove it and run `dvc repro`"
            ) from None
        LOCK.write_bytes(shown.stdout)
        print(f"{LOCK}: was cut by a kill; now that of the last commit")


if __name__ == "__main__":
    parser("tools.lock", __doc__).parse_args()
    with told_in_one_line("lock"):
        main()
