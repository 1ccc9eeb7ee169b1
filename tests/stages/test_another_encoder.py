"""Vectors are asked by the encoder that made them, in the number format in which it made them."""

import shutil
from pathlib import Path

import pytest
from helpers import write_params
from round_helpers import ROUND

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.embeddings import precision
from dpr.encoders import checkpoint, formats
from dpr.records.types import ENCODERS
from dpr.runs.trec import read_run
from stages import audit
from tools.answers import Answers

MINING = {"mine.encoder.use": True, "mine.encoder.last_rank": 5}
QUERY_SIDE = {"train.roles": "query"}


# Each way in which a query encoder meets vectors: the stages before it, its settings, the vectors.
ENCODED, TRAINED = "data/embeddings/zero_shot", "data/vectors/first"
WAYS = {
    "search": (("encode", "index"), {}, ENCODED),
    "ask": (("encode", "index"), {}, ENCODED),
    "audit": (("encode", "index"), {}, ENCODED),
    "mine": (("vectors",), MINING, TRAINED),
    "train": (("vectors", "mine"), QUERY_SIDE, TRAINED),
}


@pytest.mark.parametrize("name", WAYS)
def test_vectors_of_a_different_encoder_are_refused(stages, make_encoder, monkeypatch, name):
    before, changes, vectors = WAYS[name]
    monkeypatch.setattr(audit, "ENCODERS", ["zero_shot"])
    argument = "first" if vectors == TRAINED else "zero_shot"

    def meet():
        if name == "ask":
            Path("metrics").mkdir(exist_ok=True)
            Answers("zero_shot")
        elif name == "audit":
            audit.main()
        else:
            stages(argument, name, **changes)

    stages(argument, *before, **changes)
    meet()
    encoder = make_encoder()
    for parameter in encoder.passage.parameters():
        parameter.data.mul_(1.1)
    shutil.rmtree("data/encoders/zero_shot")
    checkpoint.save(encoder, "data/encoders/zero_shot")
    with pytest.raises(InputError, match=f"^{vectors}: made by a different encoder"):
        meet()


@pytest.mark.slow
def test_a_trained_query_encoder_asks_the_vectors_that_it_was_trained_against(stages):
    stages("first", *ROUND, **QUERY_SIDE)
    shutil.copytree("data/encoders/first", "data/encoders/dense")
    stages("zero_shot", "encode")
    shutil.copytree("data/embeddings/zero_shot", "data/embeddings/dense")
    stages("dense", "index", "search")
    assert len(read_run(Path("data/runs/test/dense.txt"))) == 3


def test_queries_are_in_the_format_of_the_vectors(stages, monkeypatch, capsys):
    """Vectors that another machine made in int8; this one's `auto` would be bf16."""
    stages("zero_shot", "encode", **{"encode.precision": "int8"})
    stages("zero_shot", "index", "search", **{"encode.precision": "int8"})
    expected = Path("data/runs/test/zero_shot.txt").read_bytes()
    opened = []
    open_one = precision.Embedder

    def watched(*args, **options):
        opened.append(open_one(*args, **options))
        return opened[-1]

    monkeypatch.setattr(precision, "Embedder", watched)
    monkeypatch.setattr(formats, "auto", lambda device: ["bf16", "fp32"])
    stages("zero_shot", "search", **{"encode.precision": "auto"})
    assert [embedder.format for embedder in opened] == ["int8"]
    assert Path("data/runs/test/zero_shot.txt").read_bytes() == expected
    assert "queries are" not in capsys.readouterr().err


def test_a_format_that_the_device_lacks_is_said_once(stages, monkeypatch, capsys):
    """As vectors in int8 on a GPU, or in fp16 on a CPU."""
    stages("zero_shot", "encode", "index", **{"encode.precision": "int8"})
    engines = formats.encoding_engines

    def without_int8(precision, device):
        if precision == "int8":
            raise InputError("int8 is for other devices")
        return engines(precision, device)

    monkeypatch.setattr(formats, "encoding_engines", without_int8)
    stages("zero_shot", "search", **{"encode.precision": "auto"})
    assert capsys.readouterr().err.splitlines() == [
        "data/embeddings/zero_shot: vectors in int8, which this machine cannot compute; "
        "queries are in fp32"
    ]


def test_the_audit_fails_where_auto_breaks_its_promise(stages, monkeypatch):
    """The figures are there to be read; and int8 that the user set is his own choice."""
    shutil.copytree("data/encoders/zero_shot", "data/encoders/dense")
    for system in ENCODERS:
        stages(system, "encode", "index", **{"encode.precision": "int8"})
    monkeypatch.setattr(precision, "MOST_NOISE", 0)
    audit.main()
    write_params(Path("params.yaml"), {"encode.precision": "auto"})
    with pytest.raises(InputError, match=r"^data/encoders/zero_shot: in int8, .* fp32 or bf16$"):
        audit.main()
    assert read_json("metrics/audit.json")["dense"]["precision"]["format"] == "int8"
