"""The run of an encoder as the mteb library reads results: results/MODEL/REVISION/TASK.json.

trec_eval computes the measures, as in mteb. mteb itself did not run: `evaluated_by` says so.
tools/mteb_tasks.csv has the tasks with the revisions of their data sets and their sizes, from the
metadata of mteb VERSION; tests compare them if mteb is installed.
"""

import csv
import re
from pathlib import Path
from typing import Any

from dpr import measures
from dpr.base.errors import InputError
from dpr.base.files import fingerprint, read_json, write_json
from dpr.encoders.spec import read_spec
from dpr.records import beir
from dpr.records.run import Run
from dpr.records.types import Qrels
from dpr.runs import trec
from dpr.settings import Settings, load_settings
from tools import sides

VERSION = "2.26.24"  # of mteb: layout and tasks
TASKS = Path(__file__).with_name("mteb_tasks.csv")
CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)
# {name in mteb: name here}
NAMES = {"ndcg": "nDCG", "map": "AP", "mrr": "RR"}
NAMES |= {"recall": "recall", "precision": "P", "hit_rate": "Success"}
SIMILARITIES = ("cosine", "dot")  # that ModelMeta knows
# Of mteb's ModelMeta, which needs these keys.
UNKNOWN = """loader release_date languages n_parameters memory_usage_mb embed_dim license
    open_weights public_training_code public_training_data training_datasets"""


def write(folder: Path, system: str, name: str) -> Path:
    """Add the result to FOLDER/results; return its file.

    Raises:
        InputError: if the run is stale, or if its collection or settings are not those of a task.
    """
    if not re.fullmatch("[^/]+/[^/]+", name):
        raise InputError(f"--name {name}: mteb wants ORGANIZATION/MODEL")
    sides.require(sides.STAGE_OF[system])
    settings = load_settings("params.yaml")
    task = task_of(settings, read_json(sides.MANIFEST)["collection"])
    run = trec.read_run(f"data/runs/test/{system}.txt")
    found = scores(beir.read_qrels("data/collection", "test"), run)
    found["evaluated_by"] = f"trec_eval, on the run of {system}; mteb did not run"
    revision = fingerprint([Path("data/encoders") / system])[:40]
    results = folder / "results" / name.replace("/", "__") / revision
    write_json(results / "model_meta.json", model(system, name, revision))
    file = results / f"{task['task']}.json"
    write_json(
        file,
        {
            "task_name": task["task"],
            "dataset_revision": task["revision"],
            "mteb_version": VERSION,
            "scores": {task["split"]: [found]},
            **dict.fromkeys(("evaluation_time", "kg_co2_emissions", "date", "evaluation_phases")),
        },
    )
    return file


def task_of(settings: Settings, manifest: dict[str, Any]) -> dict[str, str]:
    """The row of TASKS for a collection, by the last part of its name that has one."""
    with TASKS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    named = {row[key].lower(): row for row in rows for key in ("task", "collection")}
    collection = settings.data.collection
    parts = reversed(re.split("[:/#@]", collection.lower()))
    task = next((named[part] for part in parts if part in named), None)
    if task is None:
        listed = "tools/mteb_tasks.csv lists those that are"
        raise InputError(f"{collection}: this name is no task of mteb {VERSION}; {listed}")
    passages = manifest["passages"].get("documents", manifest["passages"]["count"])
    sizes = passages, manifest["judgments"]["test"]["queries"]
    if sizes != (int(task["passages"]), int(task["queries"])):
        raise InputError(
            f"{collection}: {sizes[0]} passages and {sizes[1]} judged queries, but mteb's "
            f"{task['task']} ({task['split']}) has {task['passages']} and {task['queries']}"
        )
    drop, ignored = bool(settings.data.drop_query_id), task["ignore_identical_ids"]
    if manifest["queries"]["with_the_id_of_a_passage"] and str(drop).lower() != ignored:
        raise InputError(
            f"params.yaml: data.drop_query_id: set it to {ignored}, since "
            f"{task['task']} has ignore_identical_ids={ignored} in mteb"
        )
    if settings.search.feedback.method:
        raise InputError("params.yaml: search.feedback.method: an encoder alone has none; set null")
    if settings.search.top_k < CUTOFFS[-1]:
        raise InputError(f"params.yaml: search.top_k: mteb ranks {CUTOFFS[-1]} passages; set that")
    return task


def scores(qrels: Qrels, run: Run) -> dict[str, Any]:
    """Means over the judged topics, with the names of mteb; a topic without hits counts as 0."""
    names = {f"{m}_at_{k}": f"{ours}@{k}" for m, ours in NAMES.items() for k in CUTOFFS}
    means = measures.means(measures.by_topic(qrels, run, [*names.values()]))
    found: dict[str, Any] = {name: round(means[ours], 5) for name, ours in names.items()}
    found |= {"main_score": found["ndcg_at_10"], "accuracy": found["recall_at_1"]}
    return found | {"hf_subset": "default", "languages": ["eng-Latn"], "mteb_version": VERSION}


def model(system: str, name: str, revision: str) -> dict[str, Any]:
    """mteb's ModelMeta of an encoder."""
    spec = read_spec(Path("data/encoders") / system)
    return {
        **dict.fromkeys(UNKNOWN.split()),
        "name": name,
        "revision": revision,
        "max_tokens": spec.passage.max_length,
        "similarity_fn_name": spec.similarity if spec.similarity in SIMILARITIES else None,
        "use_instructions": bool(spec.query.prefix or spec.passage.prefix),
        "framework": ["Sentence Transformers"],
    }
