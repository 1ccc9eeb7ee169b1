"""Append the result of this workspace to a table that a class shares, as a line of CSV.

Reads metrics and params.yaml. The line has nDCG@10 of dense and its own zero_shot, the gain and its
p value (paired randomization test), the best validation and the passages that it ranked, and the
parameters that differ from a revision. A new file gets a header. Without FILE, header and line are
printed. Outdated results are refused.

    python -m tools.row --who ada
    python -m tools.row /PATH/class.csv --who ada --base origin/main
"""

import csv
import io
import json
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

from dpr.base.environment import processor
from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.measures import PRIMARY_MEASURE
from dpr.settings import ROUNDS, load_settings
from stages.run import one_line_errors, parser
from tools import sides

# No time: an equal result is an equal row, and the commit has a date. Texts with commas come last.
HEADER = f"who,commit,{PRIMARY_MEASURE},zero_shot,gain,p,valid,over,changed,processor\n"
CODE = ["dpr", "stages", "dvc.yaml", "versions.yaml"]  # decides results, beside params.yaml


def main(file: Path | None, who: str, base: str) -> None:
    if not re.match(r"\w", who.strip()):  # a spreadsheet computes what begins with = + - @
        raise InputError(f"--who: {who!r}: begin the name with a letter or a digit")
    sides.require("compare")
    parameters, text = changed(base), io.StringIO()
    cells = [" ".join(who.split()), commit(), *figures(), parameters, processor()]
    csv.writer(text, lineterminator="\n").writerow(cells)
    if file is not None:
        append(file, text.getvalue())
    print(HEADER + text.getvalue(), end="")


def commit() -> str:
    """HEAD, with `+code` if code that decides results differs from it."""
    head = subprocess.check_output(["git", "rev-parse", "--short=10", "HEAD"], text=True).strip()
    edited = subprocess.check_output(["git", "status", "--porcelain", "--", *CODE])
    return head + ("+code" if edited else "")


def figures() -> list[str]:
    """The cells from nDCG@10 to `over`; of the last round that ran, "-" if none did."""
    compared = read_json("metrics/compare.json")
    test = compared["against"]["zero_shot"]["dense"][PRIMARY_MEASURE]
    means = [compared["systems"][s][PRIMARY_MEASURE]["mean"] for s in ("dense", "zero_shot")]
    settings, valid, over = load_settings("params.yaml"), "-", "-"
    for name in filter(settings.trains, ROUNDS):
        best = sides.training(sides.WORKSPACE)[name]["best"]
        valid = f"{best[PRIMARY_MEASURE]:.4f}"
        over = str(settings.train_settings(name).valid_passages or "all")
    gain, p = f"{test['difference']:+.4f}", f"{test['p_randomization']:.4f}"
    return [*(f"{mean:.4f}" for mean in means), gain, p, valid, over]


def changed(base: str) -> str:
    """The parameters that differ from those of a revision: `train.lr=3e-5 train.max_steps=60`."""
    before, after = (sides.parameters(side) for side in (base, sides.WORKSPACE))
    keys = [key for key in sides.differing(before, after) if key in after]
    return " ".join(f"{key}={shown(after[key])}" for key in keys) or "-"


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    plain = isinstance(value, str) and value.isprintable() and " " not in value
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def append(path: Path, row: str) -> None:
    """Add a row in one write; a lock keeps apart those who share the file.

    Raises:
        InputError: for a file that cannot be opened, a different table, a cut one, or an equal row.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; name a file in a folder of yours") from None
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        with suppress(ImportError):  # Windows has no fcntl
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        found = file.read().decode("utf-8-sig", errors="replace")
        rows, (header, new) = list(csv.reader(found.splitlines())), csv.reader([HEADER, row])
        if rows and rows[0] != header:
            raise InputError(f"{path}: line 1 is not {HEADER.strip()}; name a new file")
        if found and not found.endswith("\n"):
            cure = f"see whether it is whole, then end it: echo >> {path}"
            raise InputError(f"{path}: line {len(rows)} has no end, so it may be cut; {cure}")
        if new in rows:
            place = rows.index(new) + 1
            raise InputError(f"{path}: line {place} is this very row; nothing was added")
        file.write((row if found else HEADER + row).encode())


if __name__ == "__main__":
    arguments = parser("tools.row", __doc__)
    arguments.add_argument("file", nargs="?", type=Path, help="the table; none: print")
    arguments.add_argument("--who", required=True, help="a name for the row")
    arguments.add_argument("--base", default="HEAD", help="revision with the parameters to compare")
    chosen = arguments.parse_args()
    with one_line_errors("row"):
        main(chosen.file, chosen.who, chosen.base)
