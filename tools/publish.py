"""Make a folder to share: the trained encoder, its card, runs and figures.

Reads data/encoders/dense, runs, metrics and params.yaml. `SentenceTransformer(FOLDER)` loads the
folder. The card describes training, data and figures. --push uploads the folder to the
Hugging Face hub; huggingface_hub reads HF_TOKEN and HF_ENDPOINT. --mteb instead adds the figures of
an encoder on this collection, if it is a task of MTEB, to FOLDER/results, as the mteb library reads
them.

    python -m tools.publish FOLDER
    python -m tools.publish FOLDER --push NAME/MODEL
    python -m tools.publish FOLDER --mteb --name NAME/MODEL
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json
from dpr.encoders.spec import read_spec
from dpr.records.types import ENCODERS
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import PAGES, mteb_results, report_tables, sides
from tools.conclusion import Results, conclude

ENCODER, RUNS, PARAMS = Path("data/encoders/dense"), Path("data/runs"), Path("params.yaml")
METRICS, MANIFEST = report_tables.COMPARED, Path(sides.MANIFEST)


def main(folder: Path, push: str | None) -> None:
    if folder.exists():
        raise InputError(f"{folder}: exists already; name a new folder")
    for needed in (ENCODER, RUNS, MANIFEST, METRICS):
        if not needed.exists():
            raise InputError(f"{needed}: missing; `dvc repro` or `dvc pull` makes it")
    sides.require("compare")
    with new_folder(folder) as partial:
        shutil.copytree(ENCODER, partial, dirs_exist_ok=True)
        shutil.copytree(RUNS, partial / "runs")
        for file in (METRICS, PARAMS, MANIFEST):
            shutil.copy(file, partial)
        (partial / "README.md").write_text(card(), encoding="utf-8")
    print(f"{folder}: SentenceTransformer({str(folder)!r}) loads it; README.md is its card")
    if push:
        upload(folder, push)


def card() -> str:
    from dpr.encoders.model_folder import PACKAGED  # loads transformers

    compared, manifest = read_json(METRICS), read_json(MANIFEST)
    settings = load_settings(PARAMS)
    return PAGES.get_template("card.md").render(
        settings=settings,
        spec=read_spec(ENCODER),
        collection=manifest["collection"],
        training=manifest["train"],
        table=report_tables.short(),
        dense=compared["systems"]["dense"],
        answer=conclude(Results.here())[:-1],  # without the next experiment
        measures=settings.eval.measures,
        commit=commit(),
        packaged=PACKAGED,
    )


def commit() -> str:
    """The commit of the repository or "unknown", and a note on uncommitted changes."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "-uno") else ""
    return (git("rev-parse", "HEAD") or "unknown") + changed


def upload(folder: Path, name: str) -> None:
    """Raises InputError with the reason if the hub refuses."""
    from huggingface_hub import HfApi

    api: Any = HfApi()
    try:
        api.create_repo(name, exist_ok=True)
        print(api.upload_folder(repo_id=name, folder_path=folder))
    except Exception as error:
        network_failed = type(error).__module__.startswith("httpx")
        if not (network_failed or isinstance(error, OSError | ValueError)):
            raise
        raise InputError(
            f"{name}: not uploaded ({' '.join(str(error).split())}); {folder} is whole: "
            f"`hf upload {name} {folder}` tries again"
        ) from None


if __name__ == "__main__":
    arguments = parser("tools.publish", __doc__)
    arguments.add_argument("folder", type=Path)
    targets = arguments.add_mutually_exclusive_group()
    targets.add_argument("--push", metavar="NAME/MODEL", help="upload the folder to a hub")
    targets.add_argument("--mteb", action="store_true", help="add results to it, for mteb")
    arguments.add_argument("--system", choices=ENCODERS, help="for --mteb; without: dense")
    arguments.add_argument("--name", help="of the model in --mteb; without: local/SYSTEM")
    chosen = arguments.parse_args()
    if not chosen.mteb and (chosen.system or chosen.name):
        arguments.error("--system and --name are for --mteb")
    with one_line_errors("publish"):
        if chosen.mteb:
            system = chosen.system or "dense"
            name = chosen.name or f"local/{system}"
            print(mteb_results.write(chosen.folder, system, name))
        else:
            main(chosen.folder, chosen.push)
