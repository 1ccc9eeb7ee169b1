"""The default pipeline in a network namespace without a single route."""

import shlex
import shutil

import pytest
from helpers import NO_NETWORK, ROOT, call

pytestmark = pytest.mark.skipif(not NO_NETWORK, reason="no network namespaces for users here")


def test_the_namespace_has_no_network():
    code = "import socket; socket.create_connection(('127.0.0.1', 53))"
    done = call(ROOT, shlex.join([*NO_NETWORK, "python", "-c", code]))
    assert "Network is unreachable" in done.stderr


def test_the_packaged_collection_and_encoder_need_none(tmp_path):
    """All other stages run without one too: `experiment` runs them so, with a tiny encoder."""
    for name in ("params.yaml", "versions.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    code = "from stages import init, prepare; prepare.main(); init.main()"
    done = call(tmp_path, shlex.join([*NO_NETWORK, "python", "-c", code]), PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    for made in ("data/collection/corpus.jsonl", "data/encoders/zero_shot/model.safetensors"):
        assert (tmp_path / made).exists()
