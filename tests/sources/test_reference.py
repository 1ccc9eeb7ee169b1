"""`trec-covid` on the real code of ir_datasets and pyserini, without a network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import HEADER, ROOT, SHARED, TESTS, collect, jsonl, needs_shared

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.records.types import Query
from dpr.sources import reference

TOPICS = SHARED / "topics/topics.covid-round5.xml"
CACHE = Path("~/.cache/pyserini/topics-and-qrels").expanduser()


@pytest.fixture
def topics_in_cache():
    """The real topics, where pyserini looks before it downloads."""
    path = CACHE / TOPICS.name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOPICS, path)


@needs_shared
@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("question", "what is the origin of COVID-19"),
        ("query", "coronavirus origin"),
    ],
)
def test_the_topics_of_trec_covid(topics_in_cache, field, text):
    topics = reference.pyserini_topics("covid-round5", field)
    assert len(topics) == 50
    assert topics[0] == Query("1", text)
    assert all(isinstance(topic.id, str) for topic in topics)
    with pytest.raises(InputError, match=r"data\.topic_field: .* no field 'title'; .*question"):
        reference.pyserini_topics("covid-round5", "title")


ODD = [("", ""), ("A title", ""), ("", "A text."), ("", "and of the"), ("Both", "of them")]


@needs_shared
def test_trec_covid_as_it_is_downloaded(topics_in_cache, tmp_path):
    """Through ir_datasets' archive: what the same files are as a BEIR folder, odd passages too."""
    folder, home = tmp_path / "trec-covid", tmp_path / "home"
    rows = [
        {"_id": f"c{n}", "title": title, "text": text, "metadata": {"url": "", "pubmed_id": ""}}
        for n, (title, text) in enumerate(ODD)
    ]
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(jsonl(*rows))
    (folder / "qrels/test.tsv").write_bytes(HEADER + b"1\tc0\t2\n1\tc9\t1\n50\tc4\t-1\n50\tc3\t1\n")
    topics = reference.pyserini_topics("covid-round5", "question")
    (folder / "queries.jsonl").write_bytes(jsonl(*({"_id": q.id, "text": q.text} for q in topics)))
    archive = home / "beir/trec-covid/source.zip"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(archive, "w") as file:
        for path in filter(Path.is_file, folder.rglob("*")):
            file.write(path, path.relative_to(tmp_path))

    # In a process of its own: ir_datasets takes its home when it is imported.
    code = f"""
from pathlib import Path
from dpr.base.errors import InputError
from dpr.sources import reference
from helpers import collect

def refused():
    try:
        collect("trec-covid", Path("refused"))
    except InputError as error:
        print(error)

refused()
reference.TREC_COVID |= {{"passages": {len(ODD)}, "queries": 49}}
refused()
reference.TREC_COVID["queries"] = 50
assert collect("trec-covid", Path("out"))["source"]["field"] == "question"
"""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{TESTS}", "IR_DATASETS_HOME": str(home)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "beir/trec-covid: 5 documents; this source has 171,332" in done.stdout
    assert "covid-round5: 50 topics; this source has 49" in done.stdout
    collect(f"beir:{folder}", tmp_path / "expected")
    for name in ("corpus.jsonl", "qrels/test.tsv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()
    assert [(p.title, p.text) for p in beir.read_passages(tmp_path / "out")] == ODD
    assert list(beir.read_queries(tmp_path / "out")) == [topic.id for topic in topics]
