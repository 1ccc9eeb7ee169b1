"""What is exported, and what is refused. (tests/comparison has pyserini's own searcher on it.)"""

import pytest
from helpers import PARAMS
from index_helpers import build_and_open, make_embeddings

from dpr.base.errors import InputError
from dpr.indexes.export import to_pyserini


def test_an_export_replaces_an_export_and_nothing_else(tmp_path):
    index = build_and_open(make_embeddings("cosine"), tmp_path / "index")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/thesis.txt").write_text("years of work")
    for taken in (tmp_path / "own", tmp_path / "own/thesis.txt"):
        with pytest.raises(InputError, match="contains more than an export"):
            to_pyserini(index, taken, PARAMS.search)
    assert (tmp_path / "own/thesis.txt").read_text() == "years of work"
    for _ in range(2):
        to_pyserini(index, tmp_path / "exported", PARAMS.search)
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["docid", "index"]


@pytest.mark.parametrize(
    ("similarity", "changes", "message"),
    [
        ("dot", {"kind": "hnsw"}, "turns dot products into distances"),
        ("cosine", {"kind": "lsh"}, "number of differing bits"),
        ("cosine", {"dimension": 8}, "does not truncate queries"),
    ],
)
def test_what_pyserini_could_not_score_is_refused(tmp_path, similarity, changes, message):
    index = build_and_open(make_embeddings(similarity), tmp_path / "index", **changes)
    with pytest.raises(InputError, match=message):
        to_pyserini(index, tmp_path / "exported", PARAMS.search)
    assert not (tmp_path / "exported").exists()
