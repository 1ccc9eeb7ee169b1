"""Work in a scratch folder: the next run resumes what a killed stage left there.

The folder's name is a key over everything that decides the result, to the last bit. So equal keys
mean equal bytes in the end. The folder also holds what the key was made from, which explains why
unfinished work is ignored. The last finished results of each kind stay, because DVC may lose one
after the stage has ended: for instance, when its cache is full.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dpr.base.environment import ENCODING, installed
from dpr.base.errors import InputError
from dpr.base.files import fingerprint, new_file, read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (*ENCODING, "peft")
NOTE, FINISHED = "decides.json", "finished"
MAX_UNFINISHED = 5  # in a scratch folder; older ones are removed
MAX_FINISHED = 3  # of each kind: for three experiments at a time


@dataclass(frozen=True)
class Work:
    """A training or an encoding: its folder, what decides its result, by name, and its kind."""

    folder: Path
    decides: dict[str, Any]
    kind: str

    @classmethod
    def of(
        cls,
        scratch: Path,
        inputs: dict[str, Any],
        code: Sequence[str],
        device: torch.device,
        kind: str | None = None,
    ) -> "Work":
        """Work whose result depends on inputs, code, package versions and the processor.

        Args:
            inputs: by names that a user knows; "work" names the sort of work.
            code: files and folders of the repository, without those that only read params.yaml.
            kind: the last finished results of each kind stay; None: the value of "work".
        """
        decides = inputs | {name: _hash(ROOT / name) for name in code}
        decides |= {f"version of {name}": v for name, v in installed(*PACKAGES).items()}
        decides |= {
            "processor": [
                torch.backends.cpu.get_cpu_capability(),
                dict(torch.cpu.get_capabilities()),
            ],
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads() if device.type == "cpu" else None,
        }
        text = json.dumps(decides, sort_keys=True)
        folder = scratch / hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(folder, json.loads(text), kind or inputs["work"])

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def is_finished(self) -> bool:
        return (self.folder / FINISHED).exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the work's lock; a process that must wait for it prints a line.

        The oldest finished results of the kind are removed first, which makes room.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.folder}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{self.folder}: waiting for an experiment that does the same", file=sys.stderr)
            lock.acquire()
        try:
            _remove(self._others(FINISHED, self.kind)[MAX_FINISHED - 1 :], FINISHED)
            yield
        finally:
            lock.release()

    def begin(self) -> None:
        """Make the folder unless an earlier run left it; name similar work that is ignored."""
        if self.is_finished or (self.folder / NOTE).exists():
            return
        if closest := self._closest():
            folder, changed = closest
            names = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" * (len(changed) > 4))
            verb = "differs" if len(changed) == 1 else "differ"
            print(f"{folder}: unfinished work ignored: {names} {verb}", file=sys.stderr)
        _remove(self._others(NOTE)[MAX_UNFINISHED - 1 :], NOTE)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / NOTE, self.decides)

    def end(self) -> None:
        """Mark the work as finished; the other files of the folder stay."""
        with new_file(self.folder / FINISHED) as file:
            file.write(self.kind)
        (self.folder / NOTE).unlink(missing_ok=True)

    def _others(self, mark: str, content: str | None = None) -> list[Path]:
        """Folders of other work with this file (and this content), the newest first."""
        changed = {}
        for path in self.folder.parent.glob(f"*/{mark}"):
            with suppress(OSError):  # another process has removed it
                if content in (None, path.read_text(encoding="utf-8")):
                    changed[path.parent] = path.parent.stat().st_mtime
        changed.pop(self.folder, None)
        return sorted(changed, key=changed.__getitem__, reverse=True)

    def _closest(self) -> tuple[Path, list[str]] | None:
        """The most similar unfinished work of this sort, and the names that differ."""
        candidates = []
        for folder in self._others(NOTE):
            with suppress(InputError):  # another process has finished it
                other = read_json(folder / NOTE)
                if other.get("work") == self.decides["work"]:
                    names = sorted(other.keys() | self.decides.keys())
                    changed = [n for n in names if other.get(n) != self.decides.get(n)]
                    candidates.append((folder, changed))
        return min(candidates, key=lambda pair: len(pair[1]), default=None)


def forget_finished(scratch: Path) -> None:
    """Remove finished work and the records of where its result is, so that it is done again.

    Unfinished work stays, and so does work that a process holds.
    """
    names = {path.parent.name for path in scratch.glob(f"*/{FINISHED}")}
    for name in names | {path.stem for path in scratch.glob("*.json")}:
        with suppress(Timeout), FileLock(scratch / f"{name}.lock", timeout=0):
            (scratch / f"{name}.json").unlink(missing_ok=True)
            if (scratch / name / FINISHED).exists():
                shutil.rmtree(scratch / name, ignore_errors=True)


def _hash(path: Path) -> str:
    """One hash of a module, or of all modules in a folder."""
    return fingerprint(sorted(path.rglob("*.py")) if path.is_dir() else [path])


def _remove(folders: list[Path], mark: str) -> None:
    """Remove the folders that still have this file, unless a process holds their lock."""
    for folder in folders:
        with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
            if (folder / mark).exists():
                shutil.rmtree(folder, ignore_errors=True)
