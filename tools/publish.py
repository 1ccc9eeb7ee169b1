"""Make a folder of the trained encoder that others can use: model, card, runs and figures.

Reads data/encoders/dense, runs, metrics and params.yaml. The folder loads with
`SentenceTransformer(FOLDER)`, and its card says what it was trained on, how, and how good it is.
--push uploads it to a hub that huggingface_hub knows (HF_TOKEN, HF_ENDPOINT).

    python -m tools.publish FOLDER
    python -m tools.publish FOLDER --push NAME/MODEL
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError
from dpr.base.files import new_folder, read_json
from dpr.evaluation import report
from dpr.measures import HEADLINE
from dpr.settings import load_settings
from stages.run import one_line_errors, parser
from tools import current, sides
from tools.report_page import PAGES

ENCODER, RUNS, MANIFEST = Path("data/encoders/dense"), Path("data/runs"), Path("data/manifest.json")
METRICS = Path("metrics/compare.json")


def main(folder: Path, push: str | None) -> None:
    if folder.exists():
        raise InputError(f"{folder}: is there already; name a new folder")
    for needed in (ENCODER, RUNS, MANIFEST, METRICS):
        if not needed.exists():
            raise InputError(f"{needed}: not here; `dvc repro` or `dvc pull` makes it")
    current.require("compare")
    with new_folder(folder) as partial:
        shutil.copytree(ENCODER, partial, dirs_exist_ok=True)
        shutil.copytree(RUNS, partial / "runs")
        for file in (METRICS, Path("params.yaml"), MANIFEST):
            shutil.copy(file, partial)
        (partial / "README.md").write_text(card(), encoding="utf-8")
    print(f"{folder}: SentenceTransformer({str(folder)!r}) loads it; README.md is its card")
    if push:
        upload(folder, push)


def card() -> str:
    """The model card, with the measured figures."""
    from dpr.encoders.pretrained import PACKAGED  # here, since it loads transformers

    settings, compared, manifest = (
        load_settings("params.yaml"),
        read_json(METRICS),
        read_json(MANIFEST),
    )
    tested = compared["against"].get("zero_shot", {}).get("dense")  # if it is a reference
    return PAGES.get_template("card.md").render(
        settings=settings,
        collection=manifest["collection"],
        training=manifest["train"],
        table=report.systems_table(compared, settings.eval.measures),
        dense=compared["systems"]["dense"],
        tested=tested[HEADLINE] if tested else None,
        headline=HEADLINE,
        measures=settings.eval.measures,
        commit=commit(),
        unhelpful=report.unhelpful(sides.training(sides.WORKSPACE)),
        packaged=PACKAGED,
    )


def commit() -> str:
    """Of the repository, or "unknown"; and whether something was changed since."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = " with uncommitted changes" if git("status", "--porcelain", "-uno") else ""
    return (git("rev-parse", "HEAD") or "unknown") + changed


def upload(folder: Path, name: str) -> None:
    """Raises InputError if the hub refuses, with what it says."""
    from huggingface_hub import HfApi

    api: Any = HfApi()
    try:
        api.create_repo(name, exist_ok=True)
        print(api.upload_folder(repo_id=name, folder_path=folder))
    except Exception as error:
        of_the_network = type(error).__module__.startswith("httpx")
        if not (of_the_network or isinstance(error, OSError | ValueError)):
            raise
        cure = f"`hf upload {name} {folder}` tries again"
        raise InputError(f"{name}: not uploaded ({error}); {folder} is whole: {cure}") from None


if __name__ == "__main__":
    arguments = parser("tools.publish", __doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--push", metavar="NAME/MODEL", help="to a hub")
    chosen = arguments.parse_args()
    with one_line_errors("publish"):
        main(chosen.folder, chosen.push)
