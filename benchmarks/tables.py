"""Speed and memory of reading a corpus, by format, against the strict reader of BEIR's JSON lines.

    python -m benchmarks.tables                       # a million passages: 7 minutes, 4 GB of disk
    python -m benchmarks.tables --passages 50000

Writes the same passages in each format; Parquet as pandas writes it, in one row group. Each format
is read in a process of its own, as `prepare` reads beir:FOLDER.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.parquet

from dpr.base.environment import processor
from dpr.records import beir
from dpr.records.types import Passage
from dpr.sources.beir_rows import read_passages
from dpr.sources.reading import Findings
from stages.run import peak_gib

STRICT, FORMATS = "BEIR", ("jsonl", "csv", "tsv", "parquet")
NAMES = ["_id", "title", "text"]
WITHIN, AT_LEAST = 600, 0.5  # MiB of memory; of the strict reader's speed


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--passages", type=int, default=1_000_000)
    arguments.add_argument("--write", type=Path, help=argparse.SUPPRESS)  # a folder
    arguments.add_argument("--read", nargs=2, help=argparse.SUPPRESS)  # a format and a folder
    given = arguments.parse_args()
    if given.write:
        write(given.write, given.passages)
        return
    if given.read:
        print(json.dumps(measured(given.read[0], Path(given.read[1]))))
        return
    print(f"{processor()}, {given.passages:,} passages\n")
    print("| format | passages a second | of BEIR's speed | peak, MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        start = [sys.executable, "-m", "benchmarks.tables", "--passages", str(given.passages)]
        subprocess.run([*start, "--write", name], check=True)
        reference = 0.0
        for form in (STRICT, *FORMATS):
            command = [*start, "--read", form, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            speed, peak = given.passages / row["seconds"], row["peak"] * 1024
            reference = reference or speed
            good = peak < WITHIN and speed >= AT_LEAST * reference
            share = f"{speed / reference:.2f}{'' if good else ' (too slow or too large)'}"
            print(f"| {form} | {speed:,.0f} | {share} | {peak:.0f} |", flush=True)


def measured(form: str, folder: Path) -> dict[str, float]:
    """Seconds for reading all passages, and the peak memory of this process in GiB."""
    started = time.monotonic()
    passages: Iterable[Passage]
    if form == STRICT:
        passages = beir.read_passages(folder)
    else:
        passages = read_passages([folder / f"corpus.{form}"], Findings())
    characters = sum(len(passage.text) for passage in passages)
    return {"seconds": time.monotonic() - started, "peak": peak_gib(), "characters": characters}


def write(folder: Path, count: int) -> None:
    from benchmarks.generated import Sentences  # not in the processes that are measured

    beir.write_passages(folder, Sentences().passages(count))
    with (folder / "corpus.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([NAMES, *beir.read_passages(folder)])
    with (folder / "corpus.tsv").open("w", encoding="utf-8") as file:
        file.writelines("\t".join(row) + "\n" for row in [NAMES, *beir.read_passages(folder)])
    values = zip(*beir.read_passages(folder), strict=True)
    table = pyarrow.table(dict(zip(NAMES, map(list, values), strict=True)))
    pyarrow.parquet.write_table(table, folder / "corpus.parquet", row_group_size=count)


if __name__ == "__main__":
    main()
