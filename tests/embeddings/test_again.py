"""Encoding again: after a kill, and what another folder already has."""

import errno
import os
import shutil

import numpy as np
import pytest

from dpr.base.errors import InputError
from dpr.base.files import read_json
from dpr.embeddings import passages
from dpr.embeddings.artifact import Embeddings


def forget(tmp_path):
    """Let the next call encode again what was encoded."""
    shutil.rmtree(tmp_path / "scratch")


def dies_in_third_window(calls):
    """An embedder that is killed in its third call; later ones go on."""

    def spoiled(embed):
        def embed_or_die(*args):
            calls.append(args)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return embed(*args)

        return embed_or_die

    return spoiled


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(encode, tmp_path):
    undisturbed = encode("undisturbed")
    forget(tmp_path)
    calls = []
    with pytest.raises(KeyboardInterrupt):
        encode("resumed", dies_in_third_window(calls))
    assert not (tmp_path / "resumed").exists()
    resumed = encode("resumed", dies_in_third_window(calls))
    assert len(calls) == 3 + 2  # 60 passages are 4 windows: two were kept
    assert resumed.manifest == undisturbed.manifest
    np.testing.assert_array_equal(resumed.vectors, undisturbed.vectors)
    assert list(resumed.ids) == list(undisturbed.ids)
    (work,) = (path for path in (tmp_path / "scratch").iterdir() if path.is_dir())
    assert {path.name for path in work.iterdir()} == {*passages.FILES, "finished"}


def never(embed):
    return lambda *args: pytest.fail("encoded again")


def test_an_output_that_is_lost_is_not_encoded_again(encode, tmp_path):
    """As when DVC cannot cache it, and empties the stage's outputs before the next try."""
    first = encode("out")
    expected, inode = np.array(first.vectors), (tmp_path / "out/vectors.npy").stat().st_ino
    shutil.rmtree(tmp_path / "out")
    second = encode("out", never)
    np.testing.assert_array_equal(second.vectors, expected)
    assert second.manifest == first.manifest
    file = (tmp_path / "out/vectors.npy").stat()
    assert (file.st_ino, file.st_nlink) == (inode, 2)  # it takes no room twice


def test_later_encodings_for_a_folder_free_the_oldest(encode, tmp_path):
    encode("out")
    (oldest,) = (tmp_path / "scratch").glob("*/finished")
    for window in (7, 8, 9):
        assert oldest.exists()
        encode("out", window=window)
    left = list((tmp_path / "scratch").glob("*/finished"))
    assert len(left) == 3 and oldest not in left


def test_a_damaged_output_damages_no_second_one(encode, tmp_path):
    first, second = (encode(name) for name in ("first", "second"))
    expected = np.array(first.vectors)
    with (tmp_path / "first/vectors.npy").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    np.testing.assert_array_equal(second.vectors, expected)
    np.testing.assert_array_equal(encode("third", never).vectors, expected)


def test_a_copy_across_file_systems_that_fails_loses_nothing(encode, tmp_path, monkeypatch):
    expected = np.array(encode("undisturbed").vectors)
    forget(tmp_path)
    shutil.rmtree(tmp_path / "undisturbed")

    def other_file_system(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(source, target):
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", other_file_system)
    monkeypatch.setattr(os, "rename", other_file_system)  # of shutil.move
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(shutil, "copyfile", full)
        patched.setattr(shutil, "copy2", full)
        encode("out")
    assert not (tmp_path / "out").exists()
    np.testing.assert_array_equal(encode("out", never).vectors, expected)


def test_a_run_that_is_killed_after_its_last_window_encodes_nothing_again(
    encode, tmp_path, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(passages, "_write_manifest", killed)
        encode("out")
    resumed = encode("out", lambda embed: lambda *_: pytest.fail("encoded again"))
    forget(tmp_path)
    np.testing.assert_array_equal(resumed.vectors, encode("undisturbed").vectors)


def test_what_a_killed_run_has_done_is_kept_if_there_is_nothing_to_copy(encode, tmp_path):
    encode("gone")
    for work in {path.parent for path in (tmp_path / "scratch").glob("*/finished")}:
        shutil.rmtree(work)
    shutil.rmtree(tmp_path / "gone")
    calls = []
    with pytest.raises(KeyboardInterrupt):
        encode("out", dies_in_third_window(calls))
    encode("out", dies_in_third_window(calls))
    assert len(calls) == 3 + 2


def test_progress_without_vectors_starts_again(encode, tmp_path, monkeypatch):
    expected = encode("first").vectors
    made = list((tmp_path / "scratch").glob("*.lock"))
    work = tmp_path / "scratch" / made[0].stem
    forget(tmp_path)
    (work / "windows").mkdir(parents=True)
    (work / "windows/0.txt").write_text("d00\n")
    np.testing.assert_array_equal(encode("second").vectors, expected)


def test_equal_embeddings_are_not_made_twice(encode, tmp_path):
    first = encode("first")
    second = encode("second", never)
    assert (list(second.ids), second.manifest) == (list(first.ids), first.manifest)
    np.testing.assert_array_equal(second.vectors, first.vectors)
    expected = np.array(first.vectors)
    (tmp_path / "second" / "vectors.npy").write_bytes(b"damaged")
    encode("third", never)  # from the first
    (tmp_path / "first" / "vectors.npy").write_bytes(b"damaged")
    (tmp_path / "third" / "ids.txt").unlink()
    np.testing.assert_array_equal(encode("fourth").vectors, expected)


def test_folders_that_are_gone_push_no_living_one_out(encode, tmp_path):
    """As the temporary folders of queued experiments, each after its end."""
    expected = np.array(encode("living").vectors)
    for number in [0, *range(passages.PLACES)]:  # the first twice
        encode(f"temporary/{number}", never)
        shutil.rmtree(tmp_path / "temporary")
    encode("living", never)
    (listed,) = (tmp_path / "scratch").glob("*.json")
    assert read_json(listed)["folders"] == [str(tmp_path / "living")]
    for work in {path.parent for path in (tmp_path / "scratch").glob("*/finished")}:
        shutil.rmtree(work)
    np.testing.assert_array_equal(encode("next", never).vectors, expected)


def test_a_place_that_cannot_be_read_is_passed_over(encode, tmp_path):
    encode("a/out")
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").touch()  # a/out/manifest.json is in no folder
    encode("b", never)
    (tmp_path / "b/manifest.json").unlink()  # else its second name is damaged, too
    (tmp_path / "b/manifest.json").write_text("[]")
    encode("c", never)
    (listed,) = (tmp_path / "scratch").glob("*.json")
    assert read_json(listed)["folders"] == [str(tmp_path / "c")]


def test_a_copy_has_nothing_of_a_killed_run(encode, tmp_path):
    first = encode("first")
    made = list((tmp_path / "scratch").glob("*.lock"))
    work = tmp_path / "scratch" / made[0].stem
    (work / "windows").mkdir(parents=True)
    (work / "windows/0.txt").write_text("d00\n")
    second = encode("second")
    np.testing.assert_array_equal(second.vectors, first.vectors)
    files = sorted(path.name for path in (tmp_path / "second").iterdir())
    assert files == ["ids.npy", "ids.txt", "manifest.json", "vectors.npy"]


def test_what_is_not_whole_is_not_copied(encode, tmp_path):
    first = encode("first")
    (tmp_path / "first" / "ids.txt").unlink()
    second = encode("second")
    assert list(second.ids) == list(first.ids)
    np.testing.assert_array_equal(second.vectors, first.vectors)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((60, 4, 0), np.float32),  # found by fuzzing: '<0f4' as the type
        np.zeros((60, 4), ">f4"),
        np.zeros((60, 4), np.int8),
        np.zeros(60, [("numbers", np.int8), ("scale", np.float32)]),
        np.zeros(60, [("other", np.int8, 4)]),
    ],
)
def test_an_array_that_is_no_vectors_is_refused(encode, tmp_path, array):
    encode("out")
    np.save(tmp_path / "out/vectors.npy", array)
    with pytest.raises(InputError, match=r"vectors\.npy: damaged, no vectors; encode again"):
        Embeddings.open(tmp_path / "out")
