"""A small file that tries to take all memory, to hang or to read a different file is refused."""

import gzip
import json
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from helpers import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is Linux's")
MOST = 2**30  # bytes of memory for a file of 1 MiB
SECONDS = 90

LAUGHS = "a0: &a0 [lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
ENTITIES = "<!DOCTYPE a [<!ENTITY e0 'lol'>" + "".join(
    f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 12)
)
READS_A_FILE = "<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>"
CITATION = "<a><MedlineCitation><PMID>{}</PMID></MedlineCitation></a>"
PROGRAM = """
import json, sys
from pathlib import Path
from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.records import beir
from dpr.records.scores import read_scores
from dpr.settings import load_settings
from dpr.sources import medline_xml, text_pairs
from dpr.sources.reading import Findings
def status(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if name in line)
for path, read in json.loads(sys.argv[1]):
    file = Path(path)
    Path("/proc/self/clear_refs").write_text("5")  # the peak from now on
    before = status("VmRSS")
    try:
        result = "read", str(eval(read))[:100]
    except InputError as error:
        result = "refused", str(error)[:300]
    print(json.dumps([*result, status("VmHWM") - before]))
"""
PASSAGES = "sum(1 for _ in beir.read_passages(file.parent))"
TRIPLES = 'list(text_pairs.read_triples([file], " ", Findings()))'
CITATIONS = "[c.pmid for c in medline_xml.read_citations(file)]"


def gigabyte(letter):
    """A gzip file of one letter, in 64 parts."""
    return gzip.compress(letter * 2**24) * 64


def parquet():
    """A kilobyte in the file is more than a gigabyte in memory."""
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 20_000_000, pyarrow.int32()), ["x" * 100]
    )
    table = pyarrow.table({"query_id": texts, "passage_id": texts})
    table = table.append_column("score", pyarrow.array([1.0]).take([0] * 20_000_000))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def params():
    return (ROOT / "params.yaml").read_text().replace("seed: 42", LAUGHS + "seed: *a11", 1).encode()


def million_digits():
    return b'{"_id": ' + b"1" * 2**20 + b"}"


def xml(doctype, pmid):
    return gzip.compress(f"{doctype}]>{CITATION.format(pmid)}".encode())


def long_pmid():
    return gzip.compress(b"<a><MedlineCitation><PMID>") + gigabyte(b"1")


# name: (file, what writes it, what reads it, the result or "" for any)
QUICK = {
    "YAML that grows": ("params.yaml", params, "load_settings(file)", "refused"),
    "XML that grows": ("m.xml.gz", lambda: xml(ENTITIES, "&e11;"), CITATIONS, ""),
    "XML that reads a file": ("m.xml.gz", lambda: xml(READS_A_FILE, "&e;"), CITATIONS, ""),
    "a million lists": ("manifest.json", lambda: b"[" * 2**20, "read_json(file)", "refused"),
    "a passage of lists": ("corpus.jsonl", lambda: b"[" * 2**20, PASSAGES, "refused"),
    "a million digits": ("corpus.jsonl", million_digits, PASSAGES, "refused"),
    "a line of a gigabyte": ("corpus.jsonl.gz", lambda: gigabyte(b"a"), PASSAGES, "refused"),
}
SLOW = {
    "a text of a gigabyte": ("m.xml.gz", long_pmid, CITATIONS, "refused"),
    "a triple of a gigabyte": ("t.tsv.gz", lambda: gigabyte(b"a"), TRIPLES, "refused"),
    "Parquet that grows": ("s.parquet", parquet, "next(read_scores(file))", ""),
}


@pytest.mark.parametrize("cases", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_hostile_files(tmp_path, cases):
    """All in one process, which takes seconds to start."""
    asked = []
    for name, (file, content, read, _) in cases.items():
        path = tmp_path / name / file
        path.parent.mkdir()
        path.write_bytes(content())
        asked.append((str(path), read))
    command = [sys.executable, "-c", PROGRAM, json.dumps(asked)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for (name, (*_, expected)), (result, text, taken) in zip(cases.items(), results, strict=True):
        assert expected in ("", result), (name, text)
        assert "root:" not in text and "lollol" not in text, name
        assert taken < MOST, name
