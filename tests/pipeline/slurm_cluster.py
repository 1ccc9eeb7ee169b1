"""A Slurm cluster on one machine, for a test.

Each node is a set of Linux namespaces, with its own hostname, network address and processes; all
see the same files. They are inside one more set, whose end ends them all.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

PATHS = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "unshare", "nsenter", "ip"]
NAMESPACES = ["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
HEAD, NODES = "10.77.0.1", {"n1": "10.77.0.11", "n2": "10.77.0.12"}
CONF = """\
ClusterName=test
SlurmctldHost=head({head})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/head.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/head.log
SlurmdLogFile={folder}/%n.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=bf_interval=2,sched_interval=2
KillWait=5
PartitionName=all Nodes=ALL Default=YES MaxTime=1:00:00
"""


def available():
    """Whether the programs are installed and this process may make networks."""
    if os.geteuid() or not all(shutil.which(program, path=PATHS) for program in PROGRAMS):
        return False
    return not subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True).returncode


class Cluster:
    """The host `head`, with the controller, and the nodes of NODES."""

    def __init__(self, folder):
        """Start it; configuration, logs and state are in `folder`."""
        self.folder, self.nodes, self.starts = folder, {}, 0
        self.env = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{PATHS}",
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        (folder / "state").mkdir()
        conf = CONF.format(folder=folder, head=HEAD)
        for name, address in NODES.items():
            conf += f"NodeName={name} NodeAddr={address} CPUs=32 RealMemory=1000 Gres=gpu:8\n"
        (folder / "slurm.conf").write_text(conf)
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-7]\n")
        for number in range(8):  # devices in name only
            (folder / f"gpu{number}").touch()
        hosts = {"localhost": "127.0.0.1", "head": HEAD} | NODES
        (folder / "hosts").write_text("".join(f"{a} {n}\n" for n, a in hosts.items()))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        # It ends when this process closes the pipe, or dies.
        self.pipe, self.head = self._apart([], "hostname head; read end; true")
        try:
            self.run(f"mount --bind {folder}/hosts /etc/hosts; ip link set lo up")
            self.run("ip link add bridge type bridge; ip link set bridge up")
            self.run(f"ip addr add {HEAD}/24 dev bridge")
            names = ["key-file", "socket", "pid-file", "log-file", "seed-file"]
            options = [f"--{n}={folder}/munge.{n.removesuffix('-file')}" for n in names]
            self.run(" ".join(["munged --force", *options]))
            self.run("slurmctld")
            for name in NODES:
                self.switch_on(name)
        except BaseException:
            self.stop()
            raise

    def switch_on(self, name):
        """Start a node; return when it can take work."""
        self.starts += 1  # DVC must not take a new process for an old one with its number
        number = f"echo {1000 * self.starts} >/proc/sys/kernel/ns_last_pid"
        network = f"ip addr add {NODES[name]}/24 dev {name}; ip link set {name} up"
        enter = ["nsenter", f"--target={self.head}"]
        pipe, self.nodes[name] = self._apart(
            [*enter, "--all"],
            f"hostname {name}; {number}; ip link set lo up; read go; {network}; slurmd -D; true",
        )
        self.run(f"ip link add {name}-head type veth peer name {name}")
        self.run(f"ip link set {name}-head master bridge up")
        move = [*enter, "--net", "ip", "link", "set", name, "netns", str(self.nodes[name])]
        subprocess.run(move, check=True)
        print("go", file=pipe, flush=True)
        ready = ("idle", "mixed", "allocated")
        self.wait(lambda: self.run(f"sinfo -h -n {name} -o %T").strip() in ready)

    def switch_off(self, name):
        """A power failure: the network of a node is gone, then all its processes at once.

        Slurm would notice after SlurmdTimeout, five minutes, and do what it does here.
        """
        self.run(f"ip link del {name}-head")
        os.kill(self.nodes.pop(name), signal.SIGKILL)
        self.run(f"scontrol update nodename={name} state=down reason=power")

    def _apart(self, before, script):
        """Start a shell in namespaces of its own; return its input and its process id."""
        line = [*before, "unshare", *NAMESPACES, "sh", "-c", script]
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
        options |= {"stderr": subprocess.DEVNULL, "env": self.env, "cwd": "/"}
        parent = psutil.Popen(line, **options)
        self.wait(lambda: self._shell(parent))
        return parent.stdin, self._shell(parent).pid

    @staticmethod
    def _shell(parent):
        children = parent.children(recursive=True)
        return next((child for child in children if child.name() == "sh"), None)

    def run(self, command, folder="/"):
        """The output of a shell command on `head`, which must succeed."""
        enter = ["nsenter", f"--target={self.head}", "--all", f"--wd={folder}"]
        line = [*enter, "sh", "-c", command]
        done = subprocess.run(line, capture_output=True, text=True, env=self.env)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{self.logs()}"
        return done.stdout

    def wait(self, true, seconds=60):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, self.logs()
            time.sleep(0.1)

    def logs(self):
        """The last lines of the controller and the nodes."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{p.name}:\n{p.read_text(errors='replace')[-2000:]}" for p in logs)

    def stop(self):
        """End all processes of all hosts."""
        self.pipe.close()
