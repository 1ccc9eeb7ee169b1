"""Time and peak memory of each stage, by the size of the collection.

    python -m benchmarks.growth                             # 10,000, 100,000 and 1,000,000 passages
    python -m benchmarks.growth --passages 171332 --train   # the size of the reference experiment
    python -m benchmarks.growth --passages 12189 --topics 6980      # as many as in MS MARCO

`dvc repro` runs the whole graph on a generated collection of each size, in a copy of this
repository. A tiny encoder leaves the cost of everything else. The exponent describes the growth
between the last two sizes: 1 if twice the passages cost twice as much. `--train` trains on 11,000
triples; otherwise there is no training.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks import generated
from dpr.evaluation.markdown_tables import table
from stages.run import parser

Costs = dict[str, tuple[float, float]]  # {stage: (seconds, peak GiB)}
TRAINING: dict[str, object] = {
    "train.initial_share": 0.0,
    "train.max_steps": None,
    "train.epochs": 1.0,
}


def main() -> None:
    arguments = parser("benchmarks.growth", __doc__)
    sizes = [10_000, 100_000, 1_000_000]
    arguments.add_argument("--passages", type=int, nargs="+", default=sizes)
    arguments.add_argument("--topics", type=int, default=generated.TOPICS)
    arguments.add_argument("--train", action="store_true")
    arguments.add_argument("--folder", type=Path, help="working folder; default: a temporary one")
    arguments.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="of params.yaml"
    )
    chosen = arguments.parse_args()
    changes: dict[str, object] = dict(TRAINING) if chosen.train else {"train.max_steps": 0}
    changes |= dict(pair.split("=", 1) for pair in chosen.set)
    costs = []
    for size in chosen.passages:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            costs.append(measured(Path(name), size, chosen.topics, changes))
        print(f"{size:,} passages: {costs[-1]}", file=sys.stderr)
    print(as_table(chosen.passages, costs))


def measured(folder: Path, size: int, topics: int, changes: dict[str, object]) -> Costs:
    """The costs of the stages, in a copy of this repository."""
    repository = folder / "repository"
    copy_repository(repository)
    generated.write_collection(folder / "collection", size, topics)
    generated.write_triples(folder / "triples.tsv")
    generated.write_encoder(folder / "encoder")
    used = {
        "data.collection": f"beir:{folder / 'collection'}",
        "data.train": f"triples:{folder / 'triples.tsv'}",
        "model.name": str(folder / "encoder"),
        "data.overlap": "drop",  # collection and triples draw queries from the same titles
        "second.use": False,
    }
    set_params(repository / "params.yaml", used | changes)
    # Hard links to the cache, because copying a large collection takes time.
    run(repository, "dvc", "config", "cache.type", "hardlink,copy")
    run(repository, "dvc", "repro", "--quiet")
    lines = (repository / ".scratch/costs.jsonl").read_text().splitlines()
    return {c["stage"]: (c["seconds"], c["peak_gib"]) for c in map(json.loads, lines)}


def copy_repository(folder: Path) -> None:
    """Copy the files of this checkout, committed or not, into a git repository."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    for name in filter(lambda name: Path(name).is_file(), listed.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, folder / name)
    run(folder, "git", "init", "-q")


def set_params(path: Path, changes: dict[str, object]) -> None:
    yaml = YAML()
    values = yaml.load(path)
    for key, value in changes.items():
        *groups, name = key.split(".")
        group = values
        for part in groups:
            group = group[part]
        group[name] = YAML(typ="safe", pure=True).load(value) if isinstance(value, str) else value
    yaml.dump(values, path)


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)


def as_table(sizes: list[int], costs: list[Costs]) -> str:
    header = ["stage", *(f"{size:,}: s" for size in sizes), *(f"{size:,}: GiB" for size in sizes)]
    several = len(sizes) > 1
    rows = []
    for stage in costs[-1]:
        of_stage = [cost.get(stage, (0.0, 0.0)) for cost in costs]
        row = [stage, *(f"{s:.1f}" for s, _ in of_stage), *(f"{gib:.2f}" for _, gib in of_stage)]
        if several:
            (before, _), (last, _) = of_stage[-2:]
            known = before > 0.5 and last > 0.5  # most of a shorter time is the start of a process
            growth = math.log(last / before) / math.log(sizes[-1] / sizes[-2]) if known else None
            row.append("-" if growth is None else f"{growth:.2f}")
        rows.append(row)
    return table([*header, *(["exponent"] if several else [])], rows)


if __name__ == "__main__":
    main()
