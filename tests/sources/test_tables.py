"""Every format and layout of users' tables gives the rows that pandas or `datasets` reads."""

import datasets
import pandas as pd
import pytest
from helpers import HEADER, ROOT, collect, jsonl, train
from table_helpers import CORPUS, QRELS, QUERIES, WRITE, put, write_frame

from dpr.base.errors import InputError
from dpr.records import beir
from dpr.sources import columns, tables, text_pairs
from dpr.sources.reading import Reading

TEXTS = ['a "quoted", cell', "caf\u00e9 \u4e2d\u6587", "'x' \\ y", "x" * 200_000]
PASSAGES = pd.DataFrame({"_id": ["d0", "d1", "d2", "d3"], "title": ["t", "u", "", "v"]})
PASSAGES["text"] = TEXTS
READ = {  # by a different library
    ".jsonl": lambda path, cache: datasets.load_dataset("json", data_files=path, cache_dir=cache),
    ".json": lambda path, cache: pd.read_json(path, dtype=False),
    ".csv": lambda path, cache: datasets.load_dataset("csv", data_files=path, cache_dir=cache),
    ".tsv": lambda path, cache: pd.read_csv(path, sep="\t", quoting=3),
    ".parquet": lambda path, cache: pd.read_parquet(path),
}


@pytest.mark.parametrize("form", WRITE)
def test_rows_are_those_of_other_libraries(tmp_path, form):
    plain = write_frame(tmp_path / f"corpus{form}", PASSAGES)
    expected = READ[form](str(plain), str(tmp_path / "cache"))
    if isinstance(expected, dict):
        expected = expected["train"].to_pandas()
    expected = expected.fillna("").to_dict("records")
    assert [row["text"] for row in expected] == TEXTS
    for end in ("",) if form == ".parquet" else ("", ".gz", ".zst"):
        file = write_frame(tmp_path / f"corpus{form}{end}", PASSAGES)
        rows = tables.read_rows([file], Reading("corpus", columns.PASSAGES))
        assert [row for _, row in rows] == expected, end


def test_line_ends_within_quotes_and_ten_megabytes_in_a_cell(tmp_path):
    frame = pd.DataFrame({"id": ["1", "2"], "text": ['two\n\n"lines"', "x" * 10**7]})
    file = write_frame(tmp_path / "a.csv", frame)
    rows = list(tables.read_rows([file], Reading("corpus", columns.PASSAGES)))
    assert [row for _, row in rows] == pd.read_csv(file, dtype=str).to_dict("records")
    assert [where.rpartition(":")[2] for where, _ in rows] == ["4", "5"]


JSON = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.jsonl": QRELS}
SHARDS = {f"corpus/corpus-{n:05}-of-00003.parquet": CORPUS[n : n + 1] for n in range(3)}
OTHER = pd.DataFrame({"_id": ["o"], "text": ["other"]})
OTHER_QRELS = pd.DataFrame({"query-id": ["r"], "corpus-id": ["o"]})


def renamed(frame, *names):
    return frame.set_axis([*names], axis=1)


def of_two(name, rows, other):
    file = "{}/Nano{}-00000-of-00001.parquet"
    return {file.format(name, "One"): rows, file.format(name, "Two"): other}


LAYOUTS = {
    "JSON lines": JSON,
    "JSON arrays": {name.replace("jsonl", "json"): frame for name, frame in JSON.items()},
    "CSV": {name.replace("jsonl", "csv"): frame for name, frame in JSON.items()},
    "zst": {f"{name}.zst": frame for name, frame in JSON.items()},
    "Parquet": {name.replace("jsonl", "parquet"): frame for name, frame in JSON.items()},
    "a hub's, with TSV": SHARDS
    | {"queries/queries-00000-of-00001.parquet": QUERIES, "qrels/test.tsv": QRELS.astype(str)},
    "a hub's, without TSV": SHARDS
    | {"queries/queries-00000-of-00001.parquet": QUERIES}
    | {"qrels/test-00000-of-00001.parquet": QRELS, "qrels/train-00000-of-00001.parquet": QRELS[:1]},
    "a set of NanoBEIR": {
        f"{name}/train-00000-of-00001.parquet": frame
        for name, frame in (("corpus", CORPUS), ("queries", QUERIES), ("qrels", QRELS))
    },
    "sets of NanoBEIR": of_two("corpus", CORPUS, OTHER)
    | of_two("queries", QUERIES, OTHER.assign(_id="r"))
    | of_two("qrels", QRELS, OTHER_QRELS),
    "different names": {
        "corpus.csv": renamed(CORPUS, "docid", "Title", "contents"),
        "queries.jsonl": renamed(QUERIES, "qid", "query"),
        "qrels/test.tsv": renamed(QRELS.astype(str), "topic", "document", "judgment"),
    },
    "no header": {
        "corpus.jsonl": CORPUS,
        "queries.tsv": b"7\twhat?\n8\twho?\n\n",
        "qrels/test.txt": b"7 0 1 1\n8 0 2 2\n8  0  3  0\n",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_collection(tmp_path, layout):
    for name, content in LAYOUTS[layout].items():
        if isinstance(content, bytes):
            put(tmp_path / "mine" / name, content)
        else:
            write_frame(tmp_path / "mine" / name, content)
    subset = "#NanoOne" if layout == "sets of NanoBEIR" else ""
    for source in ("beir", "nanobeir"):
        collect(f"{source}:{tmp_path / 'mine'}{subset}", tmp_path / "out")
        passages = [(p.id, p.title, p.text) for p in beir.read_passages(tmp_path / "out")]
        assert passages == [("1", "t", "a"), ("2", "", "b"), ("3", "", "c")]
        queries = beir.read_queries(tmp_path / "out")
        assert {key: query.text for key, query in queries.items()} == {"7": "what?", "8": "who?"}
        qrels = beir.read_qrels(tmp_path / "out", "test")
        assert qrels == {"7": {"1": 1}, "8": {"2": 2, "3": 0}}


def test_the_data_sets_of_a_folder_are_listed(tmp_path):
    for name, frame in LAYOUTS["sets of NanoBEIR"].items():
        write_frame(tmp_path / name, frame)
    for end in ("", "#NanoThree"):
        with pytest.raises(InputError, match=r"choose one of these by beir:.*#NAME: NanoOne, Nano"):
            collect(f"beir:{tmp_path}{end}", tmp_path / "out")
    manifest = collect(f"beir:{tmp_path}#NanoTwo", tmp_path / "out")
    assert manifest["source"]["subset"] == "NanoTwo"
    assert manifest["source"]["repairs"] == {"judgments without a grade, taken as 1": 1}
    assert beir.read_qrels(tmp_path / "out", "test") == {"r": {"o": 1}}


def test_repairs_are_counted_once_and_told(tmp_path, capsys):
    corpus = CORPUS.assign(_id=[1.0, 2.0, 3.0], url="x")
    write_frame(tmp_path / "corpus.parquet", corpus)
    put(
        tmp_path / "queries.jsonl",
        jsonl({"_id": 7, "text": "a"}, {"_id": "8", "text": "b"}) + b"\n",
    )
    put(tmp_path / "qrels/test.tsv", HEADER + b"7\t1\t1.0\n8\t2\t2\n\n\n")
    source = collect(f"beir:{tmp_path}", tmp_path / "out")["source"]
    repairs = {"decimal ids": 3, "null titles": 2, "integer ids": 1, "decimal grades": 1}
    assert source["repairs"] == repairs | {"blank last lines": 2}
    assert source["ignored_columns"] == {"corpus": ["url"]}
    assert [*beir.read_qrels(tmp_path / "out", "test")] == ["7", "8"]
    told = capsys.readouterr().err
    assert "3 decimal ids" in told and "2 null titles" in told and "ignored: url" in told
    put(
        tmp_path / "f.jsonl",
        jsonl(*({"q": 1, "query": f"q {n}", "pos": "p"} for n in "ab")) + b"\n",
    )
    source = train(f"pairs:{tmp_path / 'f.jsonl'}", tmp_path / "trained")["source"]
    assert source["repairs"] == {"blank last lines": 1}  # the file is read many times
    assert source["ignored_columns"] == {"examples": ["q"]}


TITLED = [
    {"docid": "1", "title": "T", "text": "yes"},
    {"docid": "2", "title": None, "text": "sure"},
]
NO = [{"docid": "3", "title": "", "text": "no"}]
ROWS = {  # layout: (its rows, the examples)
    "anchor": (
        [{"anchor": "a b", "positive": "yes", "negative": "no"}],
        [("a b", "yes", "no")],
    ),
    "numbered negatives": (
        [
            {"query": "a b", "positive": "yes", "negative_1": "no", "negative_2": "never"},
            {"query": "c d", "positive": "yes", "negative_1": "no", "negative_2": None},
        ],
        [("a b", "yes", "no", "never"), ("c d", "yes", "no")],
    ),
    "FlagEmbedding": (
        [
            {"query": "a b", "pos": ["yes", "sure"], "neg": ["no", "never"]},
            {"query": "c d", "pos": ["yes"], "neg": []},
        ],
        [("a b", "yes", "no", "never"), ("a b", "sure", "no", "never"), ("c d", "yes")],
    ),
    "Tevatron": (
        [{"query_id": "1", "query": "a b", "positive_passages": TITLED, "negative_passages": NO}],
        [("a b", "T. yes", "no"), ("a b", "sure", "no")],
    ),
    "Tevatron's later name": (
        [{"query_text": "a b", "positive_passages": TITLED[:1], "negative_passages": []}],
        [("a b", "T. yes")],
    ),
    "titles": (
        [{"question": "a b", "title": "T", "text": "yes"}, {"question": "c d", "text": "no"}],
        [("a b", "T. yes"), ("c d", "no")],
    ),
    "labels": (
        [{"query": "a b", "passage": p, "label": n} for p, n in (("yes", 1), ("no", 0))]
        + [{"query": "a b", "passage": "sure", "label": True}],
        [("a b", "yes"), ("a b", "sure")],
    ),
}


def examples(folder):
    """The training examples as texts."""
    queries = {query.id: query.text for query in beir.read_queries(folder).values()}
    passages = {passage.id: passage.text for passage in beir.read_passages(folder)}
    return [
        (queries[pair.query_id], passages[pair.passage_id], *map(passages.get, pair.negative_ids))
        for pair in beir.read_pairs(folder)
    ]


@pytest.mark.parametrize("form", [".jsonl", ".json", ".parquet", ".csv", ".tsv"])
@pytest.mark.parametrize("layout", ROWS)
def test_every_training_layout(tmp_path, form, layout):
    rows, expected = ROWS[layout]
    frame = pd.DataFrame(rows)
    if form in (".csv", ".tsv"):
        if frame.map(lambda value: not isinstance(value, str | int)).any(axis=None):
            pytest.skip("a format of texts alone")
        frame = frame.astype(str).replace("True", "1")
    elif form == ".parquet" and layout == "labels":
        frame = frame.astype({"label": int})
    file = write_frame(tmp_path / f"f{form}", frame)
    for kind in ("pairs", "triples"):
        if kind == "triples" and not any(column.startswith("neg") for column in frame):
            with pytest.raises(InputError, match="no column for 'negative'; found: q"):
                train(f"{kind}:{file}", tmp_path / "out")
            continue
        train(f"{kind}:{file}", tmp_path / "out", held_out=0)
        assert examples(tmp_path / "out") == expected


def test_shards_of_pairs(tmp_path, capsys):
    rows = [{"query": f"what {n}", "pos": [f"it is {n}"], "pos_scores": [0.5]} for n in range(6)]
    for split, part in (("train", rows[:4]), ("test", rows[4:])):
        for shard in range(2):
            name = f"{split}-0000{shard}-of-00002.parquet"
            write_frame(tmp_path / name, pd.DataFrame(part[shard::2]))
    for end, part in (("", rows[:4]), ("#test", rows[4:])):
        train(f"pairs:{tmp_path}{end}", tmp_path / "out", held_out=0)
        assert sorted(examples(tmp_path / "out")) == [(r["query"], *r["pos"]) for r in part]
        assert "SCORES ARE NOT USED: pos_scores" in capsys.readouterr().err
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(InputError, match="1 of 2 shards"):
        train(f"pairs:{tmp_path}", tmp_path / "out")


def test_the_docs_have_the_names_of_all_columns():
    docs = (ROOT / "docs/collections.md").read_text()
    kinds = (columns.PASSAGES, columns.QUERIES, columns.QRELS, text_pairs.TRIPLES)
    told = {"mixture_source", "iteration"}  # of this project and of TREC
    for kind in kinds:
        names = (name for key, names in kind.columns.items() if key not in told for name in names)
        assert [name for name in names if f"`{name}`" not in docs] == []
