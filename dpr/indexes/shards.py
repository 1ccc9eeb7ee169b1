"""An index with cells, filled by several processes: each fills a copy; the first merges them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import faiss

from dpr.base.processes import ProcessGroup


def filled(
    index: faiss.Index,
    mine: range,
    fill: Callable[[faiss.Index, range], None],
    processes: ProcessGroup,
    work: Path,
) -> faiss.Index:
    """The index with the rows of all processes; of use in the first alone.

    Args:
        index: trained in the first process.
        mine: the rows of this process. Those of all follow each other.
        fill: adds rows to an index.
        work: a folder that all processes see; it is removed in the end.
    """
    trained, part = work / "trained.faiss", work / f"{processes.rank}.faiss"
    if processes.is_first:
        work.mkdir(parents=True, exist_ok=True)
        faiss.write_index(index, str(trained))
    processes.wait()
    if not processes.is_first:
        index = faiss.read_index(str(trained))
    fill(index, mine)
    if not processes.is_first:
        faiss.write_index(index, str(part))
    processes.wait()
    if processes.is_first:
        for rank in range(1, processes.size):
            part = work / f"{rank}.faiss"
            index.merge_from(faiss.read_index(str(part)), index.ntotal)
            part.unlink()
        shutil.rmtree(work)
    return index
