"""Compare two experiments topic by topic, and say whether their difference is significant.

Reads the runs of both sides, and topics and judgments of data/collection. Each side is a git
revision, the name of an experiment, `workspace`, or the file of a TREC run.

    python -m tools.diff HEAD workspace
    python -m tools.diff HEAD NAME --split valid
    python -m tools.diff NAME OTHER --system hybrid --measure AP --top 20
    python -m tools.diff one/run.txt another/run.txt
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from dpr import measures
from dpr.base.errors import InputError
from dpr.evaluation import report, significance
from dpr.records import beir
from dpr.records.types import Qrels, Run
from dpr.runs import trec
from dpr.settings import load_settings
from stages.run import parser, told_in_one_line
from stages.systems import SYSTEMS


def main(arguments: argparse.Namespace) -> None:
    settings = load_settings("params.yaml")
    qrels = beir.read_qrels("data/collection", arguments.split)
    if not qrels:
        raise InputError(f"data/collection/qrels/{arguments.split}.tsv: no topic to compare by")
    queries = beir.read_queries("data/collection")
    run_file = f"data/runs/{arguments.split}/{arguments.system}.txt"
    before, after = (
        by_topic(qrels, side, run_file, arguments.measure)
        for side in (arguments.before, arguments.after)
    )
    texts = {query_id: queries[query_id].text for query_id in qrels}
    print(report.topics_table(texts, before, after, arguments.top), end="\n\n")
    values = [np.array(list(side.values())) for side in (after, before)]
    (result,) = significance.compare(values[0][None], values[1], settings.seed)
    print(report.verdict(arguments.measure, before, after, result))


def by_topic(qrels: Qrels, side: str, run_file: str, measure: str) -> dict[str, float]:
    """The measure of each judged topic, in the run of one side."""
    found = read(side, run_file)
    if not found.keys() & qrels.keys():
        raise InputError(
            f"{side}: no topic of its run is judged in data/collection; was it another collection?"
        )
    if missing := len(qrels.keys() - found.keys()):
        print(f"{side}: {missing} judged topics are not in its run: each counts as 0\n")
    return measures.by_topic(qrels, found, [measure])[measure]


def read(side: str, run_file: str) -> Run:
    """The run of a revision, or a run file."""
    if Path(side).is_file():
        return trec.read_run(side)
    if side == "workspace":
        return trec.read_run(run_file)
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        text = dvc.api.read(run_file, rev=side)
    except (DvcException, SCMError, OSError) as error:
        raise InputError(
            f"{side}: neither a run file nor a revision whose {run_file} is in DVC's cache here "
            f"({error}); `dvc exp show` lists the experiments, and a commit of results made on "
            "another machine is not in this cache: run `make repro` and commit dvc.lock"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(run_file).name
        copy.write_text(text, encoding="utf-8")
        return trec.read_run(copy)


def parse() -> argparse.Namespace:
    arguments = parser("tools.diff", __doc__)
    arguments.add_argument("before", help="revision, experiment, `workspace` or run file")
    arguments.add_argument("after", help="the same")
    arguments.add_argument("--system", default="dense", choices=SYSTEMS, help="whose run")
    arguments.add_argument("--split", default="test", choices=["test", "valid"])
    arguments.add_argument("--measure", default=measures.HEADLINE, type=measure_name)
    arguments.add_argument("--top", default=10, type=int, help="topics to show (default: 10)")
    return arguments.parse_args()


def measure_name(name: str) -> str:
    measures.parse_measure(name)
    return name


if __name__ == "__main__":
    chosen = parse()
    with told_in_one_line("diff"):
        main(chosen)
