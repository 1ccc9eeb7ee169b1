"""What tests of users' tables write: frames in every format, as pandas' users do."""

import gzip

import pandas as pd
import pyarrow

from dpr.sources import tables

CORPUS = pd.DataFrame({"_id": [1, 2, 3], "title": ["t", None, None], "text": ["a", "b", "c"]})
QUERIES = pd.DataFrame({"_id": [7, 8], "text": ["what?", "who?"]})
QRELS = pd.DataFrame({"query-id": [7, 8, 8], "corpus-id": [1, 2, 3], "score": [1.0, 2.0, 0.0]})
WRITE = {  # suffix: what writes a frame as pandas' users do
    ".jsonl": lambda frame: frame.to_json(orient="records", lines=True).encode(),
    ".json": lambda frame: frame.to_json(orient="records").encode(),
    ".csv": lambda frame: frame.to_csv(index=False).encode(),
    ".tsv": lambda frame: "".join("\t".join(row) + "\n" for row in [frame, *frame.values]).encode(),
    ".parquet": lambda frame: frame.to_parquet(index=False),
}


def compressed(content, end):
    if end == ".gz":
        return gzip.compress(content)
    if end == ".zst":
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, "zstd") as file:
            file.write(content)
        return sink.getvalue().to_pybytes()
    return content


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_frame(path, frame):
    """In the format of the path's suffix."""
    end = path.suffix if path.suffix in (".gz", ".zst") else ""
    return put(path, compressed(WRITE[tables.format_of(path)](frame), end))
