import pytest
from helpers import write_params


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with the parameters of this repository."""
    write_params(tmp_path / "params.yaml", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path
