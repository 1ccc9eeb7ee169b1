"""Encoding again: after a kill, in parts, and for outputs that are lost, damaged or in use."""

import errno
import os
import shutil

import numpy as np
import pytest

from dpr.base.errors import InputError
from dpr.embeddings import passages


@pytest.fixture
def work(tmp_path):
    """work() -> the folder of the only work so far."""

    def find():
        (lock,) = (tmp_path / "scratch/encode").glob("*.lock")
        return lock.with_suffix("")

    return find


def forget(tmp_path):
    """Let the next call encode everything again."""
    shutil.rmtree(tmp_path / "scratch/encode")


def never(embed):
    return lambda *args: pytest.fail("encoded again")


@pytest.fixture
def dying():
    """An embedder that is killed in its third call; later calls succeed. `dying.calls` counts."""

    def spoil(embed):
        def embed_or_die(*args):
            spoil.calls += 1
            if spoil.calls == 3:
                raise KeyboardInterrupt
            return embed(*args)

        return embed_or_die

    spoil.calls = 0
    return spoil


def test_a_killed_run_resumes_and_ends_with_the_same_bytes(encode, dying, work, tmp_path):
    undisturbed = encode("undisturbed")
    forget(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        encode("resumed", dying)
    assert not (tmp_path / "resumed").exists()
    resumed = encode("resumed", dying)
    assert dying.calls == 3 + 2  # 60 passages are 4 windows: two were done
    assert resumed.manifest == undisturbed.manifest
    np.testing.assert_array_equal(resumed.vectors, undisturbed.vectors)
    assert list(resumed.ids) == list(undisturbed.ids)
    assert {path.name for path in work().iterdir()} == {*passages.FILES, "finished"}
    assert {path.name for path in (tmp_path / "resumed").iterdir()} == {*passages.FILES}


def test_a_run_that_is_killed_after_its_last_window_encodes_nothing_again(
    encode, tmp_path, monkeypatch
):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(passages, "_write_manifest", killed)
        encode("out")
    resumed = encode("out", never)
    forget(tmp_path)
    np.testing.assert_array_equal(resumed.vectors, encode("undisturbed").vectors)


@pytest.mark.parametrize("spoiled", ["fsync", "truncate"])
def test_a_kill_while_the_windows_are_joined(encode, work, tmp_path, monkeypatch, spoiled):
    expected = np.array(encode("undisturbed").vectors)
    forget(tmp_path)
    assert encode(part=(0, 1)) == (4, 0)
    real, calls = getattr(os, spoiled), []

    def third_dies(*args, **options):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(os, spoiled, third_dies)
        encode("out", never)
    assert [p.stat().st_size > 0 for p in sorted(work().glob("windows/*.vectors"))].count(True) == 2
    np.testing.assert_array_equal(encode("out", never).vectors, expected)


def test_parts_make_what_one_run_makes(encode, dying, work, tmp_path):
    undisturbed = encode("undisturbed")
    forget(tmp_path)
    assert encode(part=(1, 3)) == (1, 3)
    with pytest.raises(KeyboardInterrupt):
        encode(spoil=dying, part=(0, 1))
    assert encode(part=(1, 3)) == (0, 1)  # the killed part had done two
    assert encode(part=(0, 1)) == (1, 0)
    joined = encode("out", never)
    assert joined.manifest == undisturbed.manifest
    np.testing.assert_array_equal(joined.vectors, undisturbed.vectors)
    assert list(joined.ids) == list(undisturbed.ids)
    assert {path.name for path in work().iterdir()} == {*passages.FILES, "finished"}
    assert encode(part=(0, 1)) == (0, 0)


def test_a_part_that_runs_twice_at_a_time_changes_nothing(encode, tmp_path):
    """As after a node that Slurm takes for lost, but which goes on."""
    expected = np.array(encode("undisturbed").vectors)
    forget(tmp_path)
    first = []

    def run_the_other_first(embed):
        def embed_late(*args):
            vectors = embed(*args)
            if not first:
                first.append(encode(part=(0, 1)))
            return vectors

        return embed_late

    assert encode(spoil=run_the_other_first, part=(0, 1)) == (4, 0)
    assert first == [(4, 0)]
    np.testing.assert_array_equal(encode("out", never).vectors, expected)


@pytest.mark.parametrize("part", [-1, 3])
def test_a_part_that_does_not_exist(encode, part):
    with pytest.raises(InputError, match=f"part {part} of 3: parts have the numbers 0 to 2"):
        encode(part=(part, 3))


def test_a_window_that_is_truncated_is_an_error_that_names_its_file(encode, work):
    encode(part=(0, 1))
    (file,) = work().glob("windows/2.vectors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"windows/2\.vectors: truncated; remove .*encode"):
        encode("out", never)


def test_a_window_without_vectors_is_encoded_again(encode, work, dying):
    """A crash of the machine may lose one of its files."""
    assert encode(part=(0, 1)) == (4, 0)
    (work() / "windows/1.vectors").unlink()
    assert encode("out", dying).vectors.any(axis=1).all()
    assert dying.calls == 1


def test_a_part_that_still_runs_when_the_windows_are_joined(encode, tmp_path):
    def join_first(embed):
        def embed_late(*args):
            vectors = embed(*args)
            if not (tmp_path / "out").exists():
                encode("out")
            return vectors

        return embed_late

    assert encode(spoil=join_first, part=(1, 2)) == (2, 0)
    np.testing.assert_array_equal(encode("other", never).vectors, encode("out", never).vectors)


def test_a_full_disk_loses_no_window(encode, work, tmp_path, monkeypatch):
    expected = np.array(encode("undisturbed").vectors)
    forget(tmp_path)
    calls = []

    def full(number):
        calls.append(number)
        if len(calls) == 6:  # the ids of the third window
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(os, "fsync", full)
        encode("out")
    assert len(list(work().glob("windows/*.txt"))) == 2
    np.testing.assert_array_equal(encode("out").vectors, expected)


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


def test_equal_embeddings_are_made_once_and_share_no_damage(encode, work, tmp_path):
    first, second = encode("first"), encode("second", never)
    expected = np.array(first.vectors)
    assert (list(second.ids), second.manifest) == (list(first.ids), first.manifest)
    with (tmp_path / "first/vectors.npy").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    np.testing.assert_array_equal(second.vectors, expected)
    # `first` shares its file with the finished work, which is encoded again for the next folder.
    np.testing.assert_array_equal(encode("third").vectors, expected)
    (work() / "ids.txt").unlink()
    np.testing.assert_array_equal(encode("fourth").vectors, expected)


def test_later_encodings_for_a_folder_free_the_oldest(encode, work, tmp_path):
    encode("out")
    oldest = work() / "finished"
    for window in (7, 8, 9):
        assert oldest.exists()
        encode("out", window=window)
    left = list((tmp_path / "scratch/encode").glob("*/finished"))
    assert len(left) == 3 and oldest not in left


def test_a_copy_across_file_systems_that_fails_loses_nothing(encode, tmp_path, monkeypatch):
    expected = np.array(encode("undisturbed").vectors)
    forget(tmp_path)

    def other_file_system(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(source, target):
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", other_file_system)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(shutil, "copyfile", full)
        encode("out")
    assert not (tmp_path / "out").exists()
    np.testing.assert_array_equal(encode("out", never).vectors, expected)


def test_progress_without_vectors_starts_again(encode, work, tmp_path):
    expected = np.array(encode("first").vectors)
    folder = work()
    forget(tmp_path)
    (folder / "windows").mkdir(parents=True)
    (folder / "windows/0.txt").write_text("d00\n")
    np.testing.assert_array_equal(encode("second").vectors, expected)
