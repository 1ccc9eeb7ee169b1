"""A small file that means to take all memory, to hang or to read another file is refused."""

import gzip
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from helpers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
MOST = 2**30  # bytes of memory for a file of 1 MiB
SECONDS = 30

LAUGHS = "a0: &a0 [lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
ENTITIES = "<!DOCTYPE a [<!ENTITY e0 'lol'>" + "".join(
    f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 12)
)
CITATION = "<a><MedlineCitation><PMID>{}</PMID></MedlineCitation></a>"
PROGRAM = """
import sys
from pathlib import Path
from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.scores import read_scores
from dpr.settings import load_settings
from dpr.sources import medline_xml, nanobeir, text_pairs
file = Path(sys.argv[1])
read = {read}
def status(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if name in line)
Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
before = status("VmRSS")
try:
    found = read(file)
    print("read", str(found)[:100])
except InputError as error:
    print("refused", str(error)[:300].replace("\\n", " "))
print(status("VmHWM") - before)
"""
PASSAGES = "lambda f: sum(1 for _ in beir.read_passages(f.parent))"
CITATIONS = "lambda f: [c.pmid for c in medline_xml.read_citations(f)]"


def zipped(mib):
    """A gzip file of so many MiB of the same letter, written a block at a time."""
    return gzip.compress(b"a" * 2**20 * mib, 1)


def parquet(path):
    """A kilobyte in the file is a gigabyte in memory, and more."""
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 20_000_000, pyarrow.int32()), ["x" * 100]
    )
    table = pyarrow.table({"query_id": texts, "passage_id": texts})
    table = table.append_column("score", pyarrow.array([1.0]).take([0] * 20_000_000))
    pyarrow.parquet.write_table(table, path, compression="zstd")


# name: (file, its content or what writes it, what reads it, what is printed)
CASES = {
    "YAML that grows": (
        "params.yaml",
        lambda: (ROOT / "params.yaml").read_text().replace("seed: 42", LAUGHS + "seed: *a11", 1),
        "load_settings",
        "refused",
    ),
    "XML that grows": (
        "m.xml.gz",
        lambda: gzip.compress(f"{ENTITIES}]>{CITATION.format('&e11;')}".encode()),
        CITATIONS,
        "",
    ),
    "XML that reads a file": (
        "m.xml.gz",
        lambda: gzip.compress(
            b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
            + CITATION.format("&e;").encode()
        ),
        CITATIONS,
        "",
    ),
    "XML with a gigabyte of text": (
        "m.xml.gz",
        lambda: gzip.compress(b"<a><MedlineCitation><PMID>" + b"1" * 2**30, 1),
        CITATIONS,
        "refused",
    ),
    "a line of a gigabyte": ("corpus.jsonl.gz", lambda: zipped(1024), PASSAGES, "refused"),
    "a triple of a gigabyte": (
        "t.tsv.gz",
        lambda: zipped(1024),
        "lambda f: list(text_pairs.read_triples(f))",
        "refused",
    ),
    "JSON of a million lists": ("manifest.json", lambda: "[" * 2**20, "read_json", "refused"),
    "a passage of a million lists": ("corpus.jsonl", lambda: "[" * 2**20, PASSAGES, "refused"),
    "a number of a million digits": (
        "corpus.jsonl",
        lambda: '{"_id": ' + "1" * 2**20 + "}",
        PASSAGES,
        "refused",
    ),
    "Parquet that grows": ("s.parquet", parquet, "lambda f: next(read_scores(f))", ""),
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_file(tmp_path, name):
    file, content, read, expected = CASES[name]
    path = tmp_path / file
    if content is parquet:
        parquet(path)
    else:
        made = content()
        path.write_bytes(made if isinstance(made, bytes) else made.encode())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(read=read), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, taken = done.stdout.strip().rsplit("\n", 1)
    assert said.startswith(expected), said
    assert "root:" not in said
    assert "lollol" not in said
    assert int(taken) < MOST, said
