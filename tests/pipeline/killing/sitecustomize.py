"""Python imports this at its start: a process that kills itself when it is about to write.

DPR_KILL_AT is the number of the file operation before which it dies; DPR_COUNT_IN a file in which
the end of a process writes how many there were.
"""

import atexit
import os
import signal
import sys
from pathlib import Path

HERE = str(Path.cwd())
AT, COUNT_IN = os.environ.get("DPR_KILL_AT"), os.environ.get("DPR_COUNT_IN")
OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.move"}
WRITING = os.O_WRONLY | os.O_RDWR
done = 0


def on_event(event, arguments):
    global done
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(path, str | os.PathLike) and bool(flags & WRITING)
    else:
        path, writes = arguments[0] if arguments else "", event in OPERATIONS
    if not writes or not str(Path(HERE, os.fspath(path))).startswith(HERE):
        return
    done += 1
    if AT and done == int(AT):
        os.kill(os.getpid(), signal.SIGKILL)


if AT or COUNT_IN:
    sys.addaudithook(on_event)
if COUNT_IN:
    atexit.register(lambda: Path(COUNT_IN).write_text(str(done)))
