"""The default pipeline in a network namespace without a single route."""

import ctypes
import multiprocessing
import os
import shlex
import shutil
import socket

import pytest
from helpers import NO_NETWORK, ROOT, call, write_params

from stages import init, prepare

pytestmark = pytest.mark.skipif(not NO_NETWORK, reason="no network namespaces for users here")
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET of sched.h


def test_the_namespace_has_no_network():
    code = "import socket; socket.create_connection(('127.0.0.1', 53))"
    done = call(ROOT, shlex.join([*NO_NETWORK, "python", "-c", code]))
    assert "Network is unreachable" in done.stderr


def prepare_and_init(folder):
    """In a fork of this process, which has imported already what takes seconds."""
    assert ctypes.CDLL(None).unshare(NEW_USER | NEW_NETWORK) == 0
    with pytest.raises(OSError, match="Network is unreachable"):
        socket.create_connection(("127.0.0.1", 53))
    os.chdir(folder)
    prepare.main()
    init.main()


def test_the_packaged_collection_and_encoder_need_none(tmp_path):
    """All other stages run without one too: `experiment` runs them so, with a tiny encoder."""
    write_params(tmp_path / "params.yaml", {})
    shutil.copy(ROOT / "versions.yaml", tmp_path)
    fork = multiprocessing.get_context("fork").Process(target=prepare_and_init, args=(tmp_path,))
    fork.start()
    fork.join()
    assert fork.exitcode == 0
    for made in ("data/collection/corpus.jsonl", "data/encoders/zero_shot/model.safetensors"):
        assert (tmp_path / made).exists()
