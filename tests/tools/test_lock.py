"""A dvc.lock that a kill has cut is mended; any other damage is named, and left as it is."""

import subprocess

import pytest
from helpers import ROOT, environment, sh

from dpr.base.errors import InputError
from tools import lock

WHOLE = (ROOT / "dvc.lock").read_text()
CONFLICT = "<<<<<<< HEAD\n    cmd: one\n=======\n    cmd: other\n>>>>>>> branch\n"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    sh(folder, "git init -q")
    sh(folder, "dvc init -q")
    (folder / "dvc.lock").write_text(WHOLE)
    sh(folder, "git add -A")
    sh(folder, "git -c user.name=t -c user.email=t@example.org commit -qm start")
    return folder


@pytest.fixture
def call(repository, monkeypatch, capsys):
    """call(text of dvc.lock) -> its text then, and what was printed."""
    monkeypatch.chdir(repository)

    def run(text):
        lock.LOCK.write_text(text)
        lock.main()
        return lock.LOCK.read_text(), capsys.readouterr().out

    return run


def test_a_whole_one_is_left_alone(call):
    other = WHOLE.replace("cmd: python -m stages.prepare", "cmd: python -m stages.prepared")
    assert call(other) == (other, "dvc.lock: whole\n")


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9])
def test_a_cut_one_is_mended(call, share):
    """Within a line: what is cut between two lines may be a smaller lock that is whole."""
    cut = WHOLE[: WHOLE.index("md5: ", int(share * len(WHOLE))) + 3] if share else ""
    text, printed = call(cut)
    assert (text, "cut by a kill" in printed) == (WHOLE, True)


def test_it_is_mended_wherever_it_is_cut(repository, monkeypatch):
    monkeypatch.chdir(repository)
    for letters in range(0, len(WHOLE), 997):
        assert lock.is_cut(WHOLE[:letters]), letters


MERGES = {
    "in the middle": WHOLE.replace("    cmd: python -m stages.prepare\n", CONFLICT, 1),
    "at the end": WHOLE + CONFLICT,
    "at the beginning": CONFLICT + WHOLE,
}


@pytest.mark.parametrize("where", MERGES)
def test_the_conflicts_of_a_merge_are_named_and_stay(call, where):
    with pytest.raises(InputError, match="conflicts of a merge; take one side"):
        call(MERGES[where])
    assert lock.LOCK.read_text() == MERGES[where]


DAMAGES = {
    "not YAML": WHOLE.replace("    deps:\n", "    deps: [\n", 1),
    "an unknown key": WHOLE.replace("    deps:\n", "    dups:\n", 1),
    "another file": "{}\nnothing: of DVC\n",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_other_damage_is_named_and_stays(call, how):
    with pytest.raises(InputError, match="damaged, but not cut by a kill"):
        call(DAMAGES[how])
    assert lock.LOCK.read_text() == DAMAGES[how]


def test_a_real_merge(repository, tmp_path):
    """With git's own markers, by the command, which `make repro` calls first."""
    clone = tmp_path / "clone"
    sh(tmp_path, f"git clone -q {repository} {clone}")
    for branch, command in (("one", "stages.one"), ("other", "stages.other")):
        sh(clone, f"git checkout -q -b {branch} origin/HEAD")
        (clone / "dvc.lock").write_text(WHOLE.replace("stages.prepare", command, 1))
        sh(clone, f"git -c user.name=t -c user.email=t@example.org commit -qam {branch}")
    merge = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "merge", "-q", "one"]
    assert subprocess.run(merge, cwd=clone, capture_output=True).returncode == 1
    before = (clone / "dvc.lock").read_text()
    assert "<<<<<<<" in before
    done = subprocess.run(
        ["python", "-m", "tools.lock"],
        cwd=clone,
        capture_output=True,
        text=True,
        env=environment() | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert (clone / "dvc.lock").read_text() == before
