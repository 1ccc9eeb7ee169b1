"""Work in a scratch folder: what a killed stage leaves there, the next run goes on with.

The folder is named by a key of all that decides the result, to the last bit: equal keys mean equal
bytes in the end. What the key is made of lies in the folder, so that work that is passed over can
be explained. The last finished works of a kind stay, since a result may be lost after the stage: to
a cache without room, say, while another process already does the next.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from dpr.base import meaning
from dpr.base.environment import ENCODING, installed
from dpr.base.errors import InputError
from dpr.base.files import new_file, read_json, write_json

PACKAGES = (*ENCODING, "peft")
NOTE, FINISHED = "decides.json", "finished"
KEPT = 5  # unfinished works in a scratch folder; older ones are removed
KEPT_FINISHED = 3  # of each kind: for three experiments at a time


@dataclass(frozen=True)
class Work:
    """Some work: its folder, what decides its result, by name, and its kind."""

    folder: Path
    decides: dict[str, Any]
    kind: str

    @classmethod
    def of(
        cls,
        scratch: Path,
        inputs: dict[str, Any],
        source: str,
        device: torch.device,
        kind: str | None = None,
    ) -> "Work":
        """Work that is decided by its inputs, the code, the packages and the processor.

        Args:
            inputs: by names that a user knows; "work" says what kind of work it is.
            source: the file whose imports do the work. (Comments and docstrings decide nothing.)
            kind: of each, the last finished works are kept; None: what "work" says.
        """
        cpu = device.type == "cpu"
        decides = inputs | meaning.of_code(source)
        decides |= {f"version of {name}": v for name, v in installed(*PACKAGES).items()}
        decides |= {
            "processor": [
                torch.backends.cpu.get_cpu_capability(),
                dict(torch.cpu.get_capabilities()),
            ],
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "threads": torch.get_num_threads() if cpu else None,
        }
        decides = json.loads(json.dumps(decides))
        text = json.dumps(decides, sort_keys=True)
        folder = scratch / hashlib.sha256(text.encode()).hexdigest()[:16]
        return cls(folder, decides, kind or inputs["work"])

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def is_finished(self) -> bool:
        return (self.folder / FINISHED).exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time does this work; says so if it has to wait.

        Before it takes room, the oldest finished works of its kind go.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.folder}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{self.folder}: another experiment does this; waiting for it", file=sys.stderr)
            lock.acquire()
        try:
            finished = [one for one in self._others(FINISHED) if _kind(one) == self.kind]
            _remove(finished[KEPT_FINISHED - 1 :], FINISHED)
            yield
        finally:
            lock.release()

    def begin(self) -> None:
        """Make the folder, if no run has left it; say so if there is other unfinished work."""
        if self.is_finished or (self.folder / NOTE).exists():
            return
        if closest := self._closest():
            folder, changed = closest
            names = ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" * (len(changed) > 4))
            print(f"{folder}: unfinished, not used: other {names}", file=sys.stderr)
        _remove(self._others(NOTE)[KEPT - 1 :], NOTE)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / NOTE, self.decides)

    def end(self) -> None:
        """Nothing is unfinished now; what is in the folder stays as it is."""
        with new_file(self.folder / FINISHED) as file:
            file.write(self.kind)
        (self.folder / NOTE).unlink(missing_ok=True)

    def _others(self, mark: str) -> list[Path]:
        """Folders of other work with this file, the newest first."""
        folders = [note.parent for note in self.folder.parent.glob(f"*/{mark}")]
        folders.sort(key=_changed, reverse=True)
        return [folder for folder in folders if folder != self.folder]

    def _closest(self) -> tuple[Path, list[str]] | None:
        """The work of this kind that least differs, and in what."""
        found = []
        for folder in self._others(NOTE):
            try:
                theirs = read_json(folder / NOTE)
            except InputError:  # another process has finished it
                continue
            if theirs.get("work") == self.decides.get("work"):
                names = sorted(theirs.keys() | self.decides.keys())
                changed = [n for n in names if theirs.get(n) != self.decides.get(n)]
                found.append((folder, changed))
        return min(found, key=lambda one: len(one[1]), default=None)


def forget_finished(scratch: Path) -> None:
    """Let finished work be done again: remove it, and the records of where its result is.

    Unfinished work stays, and so does what a process is at.
    """
    names = {path.parent.name for path in scratch.glob(f"*/{FINISHED}")}
    for name in names | {path.stem for path in scratch.glob("*.json")}:
        with suppress(Timeout), FileLock(scratch / f"{name}.lock", timeout=0):
            (scratch / f"{name}.json").unlink(missing_ok=True)
            if (scratch / name / FINISHED).exists():
                shutil.rmtree(scratch / name, ignore_errors=True)


def _kind(folder: Path) -> str | None:
    try:
        return (folder / FINISHED).read_text(encoding="utf-8")
    except OSError:  # another process has removed it
        return None


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0


def _remove(folders: list[Path], mark: str) -> None:
    """Those that still have this file, and that no process works on."""
    for folder in folders:
        with suppress(Timeout), FileLock(f"{folder}.lock", timeout=0):
            if (folder / mark).exists():
                shutil.rmtree(folder, ignore_errors=True)
