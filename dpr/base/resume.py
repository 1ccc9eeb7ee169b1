"""Work in a scratch folder, which a killed stage resumes in its next run.

The folder is named by a hash of everything that decides the result, so equal names mean equal
bytes. It also lists these inputs, to explain why unfinished work is ignored. The latest finished
results of each kind stay, because DVC may lose a result after the stage. This happens, for example,
if its cache is full.
"""

import hashlib
import json
import os
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
    """One training or one encoding.

    Attributes:
        decides: all inputs that decide the result, by name.
        kind: the newest MAX_FINISHED results of each kind stay.
    """

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
        """Work with a result that depends on inputs, code, package versions and the processor.

        Args:
            inputs: by names that a user knows; "work" is the type of work.
            code: files and folders of the repository, except for dpr/settings.
            kind: None stands for the value of "work".
        """
        modules = {name: sorted((ROOT / name).rglob("*.py")) or [ROOT / name] for name in code}
        decides = inputs | {name: fingerprint(files) for name, files in modules.items()}
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
        """Hold the lock of the work; print a message if a different process has it.

        For unfinished work, remove the oldest finished results of its kind to make room.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.folder}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{self.folder}: waiting for an experiment with the same work", file=sys.stderr)
            lock.acquire()
        try:
            if not self.is_finished:
                _remove(self._others(FINISHED, self.kind)[MAX_FINISHED - 1 :], FINISHED)
            yield
        finally:
            lock.release()

    def begin(self) -> None:
        """Make the folder unless it exists; print why the most similar unfinished work differs."""
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
        """Mark the work as finished and as the newest of its kind. Its result files stay.

        Finished work keeps its first kind when it is used again.
        """
        if self.is_finished:
            os.utime(self.folder)
        else:
            with new_file(self.folder / FINISHED) as file:
                file.write(self.kind)
        (self.folder / NOTE).unlink(missing_ok=True)

    def _others(self, mark: str, content: str | None = None) -> list[Path]:
        """Folders of different work that have the file `mark` (and this content), newest first."""
        changed = {}
        for path in self.folder.parent.glob(f"*/{mark}"):
            with suppress(OSError):  # another process has removed it
                if content in (None, path.read_text(encoding="utf-8")):
                    changed[path.parent] = path.parent.stat().st_mtime
        changed.pop(self.folder, None)
        return sorted(changed, key=changed.__getitem__, reverse=True)

    def _closest(self) -> tuple[Path, list[str]] | None:
        """The most similar unfinished work of the same type, and the inputs that differ."""
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
    """Remove finished work, so that the next run repeats it. Unfinished or locked work stays."""
    _remove([path.parent for path in scratch.glob(f"*/{FINISHED}")], FINISHED)


def _remove(folders: list[Path], mark: str) -> None:
    """Remove folders that contain the file `mark`, unless a process holds the lock."""
    for folder in folders:
        with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
            if (folder / mark).exists():
                shutil.rmtree(folder, ignore_errors=True)
