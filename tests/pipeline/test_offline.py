"""The default pipeline in a network namespace without a single route."""

import subprocess
import sys

import pytest
from helpers import NO_NETWORK, ROOT, environment

pytestmark = pytest.mark.skipif(not NO_NETWORK, reason="no network namespaces for users here")


def test_the_namespace_has_no_network():
    code = "import socket; socket.create_connection(('127.0.0.1', 53))"
    done = subprocess.run([*NO_NETWORK, sys.executable, "-c", code], capture_output=True, text=True)
    assert "Network is unreachable" in done.stderr


@pytest.mark.parametrize("stage", ["prepare", "init"])
def test_the_packaged_collection_and_encoder_need_none(stage, tmp_path):
    """All other stages run without one too: `experiment` runs them so, with a tiny encoder."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "versions.yaml").write_bytes((ROOT / "versions.yaml").read_bytes())
    done = subprocess.run(
        [*NO_NETWORK, sys.executable, "-m", f"stages.{stage}"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
