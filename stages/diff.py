"""Compare two experiments topic by topic. No stage: it makes nothing.

    python -m stages.diff HEAD workspace
    python -m stages.diff HEAD EXP-NAME --split valid
    python -m stages.diff EXP-NAME EXP-NAME --system hybrid --measure AP --top 20
    python -m stages.diff one/run.txt another/run.txt

Each side is a git revision, an experiment's name, `workspace`, or the file of a TREC run.
"""

import argparse
import tempfile
from pathlib import Path

from dpr import measures, report, significance, trec
from dpr.collections import beir
from dpr.errors import InputError
from dpr.settings import load_settings
from stages import run


def main() -> None:
    arguments = parse_arguments()
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
    result = significance.compare(list(after.values()), list(before.values()), settings.seed)
    print(report.verdict(arguments.measure, before, after, result))


def by_topic(qrels: measures.Qrels, side: str, run_file: str, measure: str) -> dict[str, float]:
    found = read(side, run_file)
    if not found.keys() & qrels.keys():
        raise InputError(
            f"{side}: no topic of its run is judged in data/collection; was it another collection?"
        )
    if missing := len(qrels.keys() - found.keys()):
        print(f"{side}: {missing} judged topics are not in its run: each counts as 0\n")
    return measures.by_topic(qrels, found, [measure])[measure]


def read(side: str, run_file: str) -> measures.Run:
    """The run in a revision, or in a file of its own."""
    if Path(side).is_file():
        return trec.as_dict(trec.read_run(side))
    if side == "workspace":
        return trec.as_dict(trec.read_run(run_file))
    import dvc.api
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        text = dvc.api.read(run_file, rev=side)
    except (DvcException, SCMError, OSError) as error:
        raise InputError(
            f"{side}: neither a run file nor a revision whose {run_file} is in DVC's cache here "
            f"({error}); `dvc exp show` lists the experiments, and a commit of results made on "
            "another machine is none of this cache: run `make repro` and commit dvc.lock"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(run_file).name
        copy.write_text(text, encoding="utf-8")
        return trec.as_dict(trec.read_run(copy))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stages.diff",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", help="revision, experiment, `workspace` or run file")
    parser.add_argument("after")
    parser.add_argument("--system", default="dense", help="whose run (default: dense)")
    parser.add_argument("--split", default="test", choices=["test", "valid"])
    parser.add_argument("--measure", default="nDCG@10", type=measure_name)
    parser.add_argument("--top", default=10, type=int, help="topics to show (default: 10)")
    return parser.parse_args()


def measure_name(name: str) -> str:
    measures.parse_measure(name)
    return name


if __name__ == "__main__":
    run(main, record=False)
