"""The job of docs/scale.md on a Slurm cluster of two nodes: one is switched off while it runs."""

import re
import shutil

import pytest
import slurm_cluster
from helpers import ROOT
from watching import files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not slurm_cluster.available(), reason="needs root, Slurm and munge"),
]
MADE = ("data/embeddings/zero_shot/", "data/encoders/first/", "metrics/train.json")
STEPS = 400  # and 351 windows
ENDS = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}
CHANGES = {  # so that both stages take a while
    "save_every: 60": "save_every: 0.1",
    "window: 8192": "window: 4",
    "max_steps: 4 ": f"max_steps: {STEPS} ",
    "eval_every: 2 ": f"eval_every: {STEPS} ",
}


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "slurm").mkdir()
    cluster = slurm_cluster.Cluster(tmp_path / "slurm")
    yield cluster
    cluster.stop()


def scripts(target):
    """{name: text} of the scripts in the section on Slurm, for one stage and with small nodes."""
    text = (ROOT / "docs/scale.md").read_text().partition("## Slurm")[2]
    launcher, job = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[:2]
    assert "--nproc-per-node 8" in launcher and "dvc exp run" in job
    launcher = launcher.replace("--nproc-per-node 8", "--nproc-per-node 1")
    return {"all.sh": launcher, "job.sh": f"{job.rstrip()} {target}\n"}


def workspace(experiment, folder, target):
    """A copy of the experiment, with the scripts and with longer stages."""
    shutil.copytree(experiment, folder, symlinks=True, ignore=shutil.ignore_patterns(".scratch"))
    params = (folder / "params.yaml").read_text()
    for old, new in CHANGES.items():
        assert old in params
        params = params.replace(old, new, 1)
    (folder / "params.yaml").write_text(params)
    (folder / "plots/train.csv").unlink()
    for name, text in scripts(target).items():
        (folder / name).write_text(text)
    return folder


class Job:
    """The job in a workspace."""

    def __init__(self, cluster, experiment, folder, target):
        self.cluster, self.folder = cluster, workspace(experiment, folder, target)
        self.number = cluster.run("sbatch --parsable job.sh", self.folder).strip()

    @property
    def state(self):
        shown = self.cluster.run(f"scontrol --oneliner show job {self.number}")
        return re.search(r"JobState=(\w+)", shown)[1]

    @property
    def printed(self):
        return (self.folder / f"slurm-{self.number}.out").read_text()

    def wait(self, true):
        self.cluster.wait(lambda: self.state in ENDS or true(), seconds=200)
        assert true(), f"{self.state}\n{self.printed}\n{self.cluster.logs()}"

    def lose(self, node):
        """Switch a node off, and on again once Slurm has noticed; wait until the job runs again."""
        self.cluster.switch_off(node)
        self.wait(lambda: self.state not in ("RUNNING", "COMPLETING"))
        self.cluster.switch_on(node)
        self.wait(lambda: self.state == "RUNNING")

    def made(self):
        """{path: sha256} after the end of the job."""
        self.wait(lambda: self.state == "COMPLETED")
        return {path: sha for path, sha in files(self.folder).items() if path.startswith(MADE)}

    def windows(self):
        """How many are encoded."""
        return len(list(self.folder.glob(".scratch/encode/*/windows/*.txt")))

    def steps(self):
        """How many the training has made."""
        curve = self.folder / "plots/train.csv"
        return len(curve.read_text().splitlines()) if curve.exists() else 0


@pytest.mark.parametrize(
    ("target", "done", "node"),  # n1 is the first node, where the job's own script runs
    [("encode@zero_shot", Job.windows, "n2"), ("train@first", Job.steps, "n1")],
    ids=["encode", "train"],
)
def test_a_job_that_loses_a_node_makes_what_an_undisturbed_job_makes(
    cluster, experiment, tmp_path, target, done, node
):
    undisturbed = Job(cluster, experiment, tmp_path / "undisturbed", target)
    expected = undisturbed.made()
    job = Job(cluster, experiment, tmp_path / "disturbed", target)
    job.wait(lambda: 20 < done(job) < STEPS / 2)
    job.lose(node)
    assert job.made() == expected
    log = (cluster.folder / "head.log").read_text()
    assert f"requeue job JobId={job.number} due to failure of node {node}" in log
    assert "unfinished work ignored" not in job.printed
    assert ("resuming after step" in job.printed) == ("train" in target)
