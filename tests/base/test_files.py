"""Files and folders are whole or not there, and fingerprints see every byte and name."""

import pytest

from dpr.base.errors import InputError
from dpr.base.files import (
    fingerprint,
    new_file,
    new_folder,
    read_json,
    read_manifest,
    write_csv,
    write_json,
)
from dpr.encoders.spec import read_spec


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    with new_file(path) as file:
        file.write("one\n")
        assert not path.exists()
    with pytest.raises(RuntimeError) as caught, new_file(path) as file:
        file.write("half")
        raise RuntimeError("power cut")
    assert path.read_text() == "one\n"
    assert caught.value.__notes__ == [f"while writing {path}"]


def test_a_folder_replaces_an_older_one_when_it_is_whole(tmp_path):
    path = tmp_path / "folder"
    with new_folder(path) as partial:
        (partial / "a").write_text("one")
    with pytest.raises(RuntimeError), new_folder(path) as partial:
        (partial / "b").write_text("half")
        raise RuntimeError("power cut")
    assert [file.name for file in path.iterdir()] == ["a"]
    assert [folder.name for folder in tmp_path.iterdir()] == ["folder"]
    partial.mkdir()
    (partial / "left").touch()  # by a kill
    with new_folder(path) as partial:
        (partial / "c").write_text("two")
    assert [file.name for file in path.iterdir()] == ["c"]


def test_equal_values_are_equal_bytes(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2.5, "caf\u00e9"]})
    write_json(tmp_path / "b.json", {"a": [2.5, "caf\u00e9"], "b": 1})
    expected = '{\n  "a": [\n    2.5,\n    "caf\u00e9"\n  ],\n  "b": 1\n}\n'
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text() == expected
    write_csv(tmp_path / "a.csv", ["x", "y"], [[1, "a,b"]])
    assert (tmp_path / "a.csv").read_bytes() == b'x,y\n1,"a,b"\n'


@pytest.mark.parametrize(
    ("text", "message"), [(None, "no such file; run the stage"), ("{", "not JSON")]
)
def test_json_that_cannot_be_read(tmp_path, text, message):
    if text:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=rf"a\.json: {message}"):
        read_json(tmp_path / "a.json")


GOOD = {"count": 1, "format": None}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (GOOD | {"count": True}, "'count'"),
        (GOOD | {"count": "1"}, "'count'"),
        (GOOD | {"format": 1}, "'format'"),
        ({"count": 1}, "'format'"),
        ([], "the object"),
    ],
)
def test_a_manifest_has_these_keys_and_types(tmp_path, value, key):
    path, keys = tmp_path / "manifest.json", {"count": int, "format": str | None}
    write_json(path, GOOD | {"more": 1})
    assert read_manifest(path, keys, "do it again") == GOOD | {"more": 1}
    write_json(path, value)
    with pytest.raises(InputError, match=rf"manifest\.json: {key} is missing .*; do it again$"):
        read_manifest(path, keys, "do it again")


SIDE = {"max_length": 9, "modules": [".", "1_Pooling"]}
SPEC = {"similarity": "dot", "tied": True, "query": SIDE, "passage": SIDE}


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (SPEC | {"query": SIDE | {"max_length": True}}, "'query"),
        (SPEC | {"tied": 1}, "'tied'"),
        (SPEC | {"query": SIDE | {"prefix": 1}}, "'query"),
        (SPEC | {"of_a_later_version": 1}, "'of_a_later_version'"),
        ({"similarity": "dot"}, "'tied'"),
        ([], "the object"),
    ],
)
def test_the_spec_of_an_encoder_has_its_keys_and_types(tmp_path, value, key):
    path = tmp_path / "encoder.json"
    write_json(path, SPEC)
    assert read_spec(tmp_path).passage.max_length == 9
    write_json(path, value)
    with pytest.raises(InputError, match=rf"encoder\.json: {key}.* is damaged, or .*; train again"):
        read_spec(tmp_path)


def test_a_fingerprint_sees_bytes_and_names(tmp_path):
    def make(**files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        return fingerprint([folder])

    first = make(a="1", b="2")
    assert first == make(b="2", a="1")
    assert (
        len({first, make(a="2", b="1"), make(a="1", c="2"), make(a="1", b="3"), make(a="1")}) == 5
    )
