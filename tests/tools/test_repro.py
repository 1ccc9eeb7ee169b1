"""A dvc.lock that a kill has cut is mended; the conflicts of a merge are named, and stay."""

import pytest
from helpers import ROOT, sh

from dpr.base.errors import InputError
from tools import repro

WHOLE = (ROOT / "dvc.lock").read_text()
CONFLICT = "<<<<<<< HEAD\n    cmd: one\n=======\n    cmd: other\n>>>>>>> branch\n"
GIT = "git -c user.name=t -c user.email=t@example.org"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    (folder / "dvc.lock").write_text(WHOLE)
    sh(folder, "git init -q")
    sh(folder, "dvc init -q")
    sh(folder, "git add -A")
    sh(folder, f"{GIT} commit -qm start")
    return folder


@pytest.fixture
def mended(repository, monkeypatch):
    """mended(text of dvc.lock) -> its text afterwards."""
    monkeypatch.chdir(repository)

    def mend(text):
        repro.LOCK.write_text(text)
        repro.mend_lock()
        return repro.LOCK.read_text()

    return mend


def test_a_whole_one_is_left_alone(mended):
    changed = WHOLE.replace("cmd: python -m stages.prepare", "cmd: python -m stages.prepared")
    assert mended(changed) == changed


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9])
def test_a_cut_one_is_mended(mended, share):
    """Within a line: what is cut between two lines may be a smaller lock that is whole."""
    cut = WHOLE[: WHOLE.index("md5: ", int(share * len(WHOLE))) + 3] if share else ""
    assert mended(cut) == WHOLE


def test_the_damaged_text_is_kept(mended):
    assert mended(WHOLE.replace("    deps:\n", "    dups:\n", 1)) == WHOLE
    assert "    dups:\n" in repro.DAMAGED.read_text()


@pytest.mark.parametrize(
    "merged",
    [
        WHOLE.replace("    cmd: python -m stages.prepare\n", CONFLICT, 1),
        WHOLE + CONFLICT,
        CONFLICT + WHOLE,
    ],
    ids=["in the middle", "at the end", "at the beginning"],
)
def test_merge_conflicts_are_named_and_stay(mended, merged):
    with pytest.raises(InputError, match="has merge conflicts; take one side"):
        mended(merged)
    assert repro.LOCK.read_text() == merged


def test_without_a_commit(tmp_path, monkeypatch):
    sh(tmp_path, "git init -q")
    sh(tmp_path, "dvc init -q")
    monkeypatch.chdir(tmp_path)
    repro.mend_lock()  # no dvc.lock: nothing to mend
    repro.LOCK.write_text("stages: [")
    with pytest.raises(InputError, match="the last commit has none; remove it and run `dvc repro`"):
        repro.mend_lock()
