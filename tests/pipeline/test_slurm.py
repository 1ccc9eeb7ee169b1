"""The jobs of docs/scale.md on a Slurm cluster of two nodes: one is switched off while they run."""

import re
import shutil

import pytest
import slurm_cluster
from helpers import ROOT, sh
from watching import files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not slurm_cluster.available(), reason="needs root, Slurm and munge"),
]
STEPS = 200
ENDS = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}
CHANGES = {  # so that both stages take a while
    "launcher: python -m": "launcher: bash all.sh",
    "save_every: 60": "save_every: 0.1",
    "window: 8192": "window: 2",
    "max_steps: 4 ": f"max_steps: {STEPS} ",
    "eval_every: 2 ": f"eval_every: {STEPS} ",
}


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "slurm").mkdir()
    cluster = slurm_cluster.Cluster(tmp_path / "slurm")
    yield cluster
    cluster.stop()


def scripts():
    """all.sh, job.sh and part.sh."""
    text = (ROOT / "docs/scale.md").read_text().partition("## Slurm")[2]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[:3]


def prepare(folder, target):
    """Write the scripts in the section on Slurm, for small nodes and one stage; change params."""
    launcher, job, part = scripts()
    assert "--nproc-per-node 8" in launcher and "tools.repro" in job and "0-31" in part
    launcher = launcher.replace("--nproc-per-node 8", "--nproc-per-node 1")
    (folder / "all.sh").write_text(launcher)
    (folder / "job.sh").write_text(f"{job.rstrip()} {target}\n")
    part = part.replace("0-31", "0-3").replace(" 32\n", " 4\n").replace("dense", "zero_shot")
    (folder / "part.sh").write_text(part)
    params = (folder / "params.yaml").read_text()
    for old, new in CHANGES.items():
        assert old in params
        params = params.replace(old, new, 1)
    (folder / "params.yaml").write_text(params)


class Job:
    """The job in a folder."""

    def __init__(self, cluster, folder, options=""):
        self.cluster, self.folder = cluster, folder
        self.number = cluster.run(f"sbatch --parsable {options} job.sh", folder).strip()

    @property
    def state(self):
        shown = self.cluster.run(f"scontrol --oneliner show job {self.number}")
        return re.search(r"JobState=(\w+)", shown)[1]

    @property
    def printed(self):
        return (self.folder / f"slurm-{self.number}.out").read_text()

    def wait(self, true):
        self.cluster.wait(lambda: true() or self.state in ENDS, seconds=300)
        assert true(), f"{self.state}\n{self.printed}\n{self.cluster.logs()}"

    def lose(self, node):
        """Switch a node off and on; return when the job runs again."""
        self.cluster.switch_off(node)
        self.wait(lambda: self.state not in ("RUNNING", "COMPLETING"))
        self.cluster.switch_on(node)
        self.wait(lambda: self.state == "RUNNING")

    def windows(self):
        """How many are encoded."""
        return len(list(self.folder.glob(".scratch/encode/*/windows/*.txt")))

    def steps(self):
        """How many the training has made."""
        curve = self.folder / "plots/train.csv"
        return len(curve.read_text().splitlines()) if curve.exists() else 0


@pytest.mark.parametrize(
    ("target", "out", "done", "node"),  # n1 is the first node, where job.sh itself runs
    [
        ("encode@zero_shot", "data/embeddings/zero_shot", Job.windows, "n2"),
        ("train@first", "data/encoders/first", Job.steps, "n1"),
    ],
    ids=["encode", "train"],
)
def test_a_job_that_loses_a_node_makes_what_two_processes_make_without_slurm(
    cluster, experiment, tmp_path, target, out, done, node
):
    folder = tmp_path / "repository"
    shutil.copytree(experiment, folder, symlinks=True)
    prepare(folder, target)
    stage = target.replace("@", " ")
    sh(folder, f"torchrun --standalone --nproc-per-node 2 -m stages.{stage}")
    expected = files(folder / out)
    shutil.rmtree(folder / out)
    shutil.rmtree(folder / ".scratch")
    (folder / "plots/train.csv").unlink()

    job = Job(cluster, folder)
    job.wait(lambda: done(job) > 20)
    job.lose(node)
    job.wait(lambda: job.state == "COMPLETED")
    assert files(folder / out) == expected
    log = (cluster.folder / "head.log").read_text()
    assert f"requeue job JobId={job.number} due to failure of node {node}" in log
    assert "unfinished work ignored" not in job.printed
    assert ("resuming after step" in job.printed) == (done is Job.steps)


def test_a_job_array_that_loses_a_node_makes_what_one_process_makes(cluster, experiment, tmp_path):
    folder = tmp_path / "repository"
    shutil.copytree(experiment, folder, symlinks=True)
    prepare(folder, "encode@zero_shot")
    sh(folder, "python -m stages.encode zero_shot")
    expected = files(folder / "data/embeddings/zero_shot")
    shutil.rmtree(folder / "data/embeddings/zero_shot")
    shutil.rmtree(folder / ".scratch")

    array = cluster.run("sbatch --parsable part.sh", folder).strip()
    job = Job(cluster, folder, f"--dependency=afterok:{array}")
    cluster.wait(lambda: job.windows() > 20, seconds=120)
    assert cluster.run("squeue -h -w n2 -t running -o %i").split()
    cluster.switch_off("n2")
    cluster.switch_on("n2")
    job.wait(lambda: job.state == "COMPLETED")
    assert files(folder / "data/embeddings/zero_shot") == expected
    log = (cluster.folder / "head.log").read_text()
    assert re.search(rf"requeue job JobId={array}_\d\(\d\) due to failure of node n2", log)
    assert "unfinished work ignored" not in job.printed
    ended = [path.read_text() for path in folder.glob(f"slurm-{array}_*.out")]
    assert len(ended) == 4 and any("; 0 are left for other parts" in text for text in ended)
