"""A remote: who pulls computes nothing."""

import pytest
from helpers import clone_into, sh


@pytest.mark.slow
def test_what_is_pulled_is_not_computed(experiment, tmp_path):
    sh(experiment, f"dvc remote add -d store {tmp_path / 'store'}")
    try:
        sh(experiment, "dvc push -q")
        other = clone_into(tmp_path / "clone")
        for file in ("params.yaml", "dvc.lock", "data/manifest.json"):
            (other / file).write_bytes((experiment / file).read_bytes())
        for folder in ("metrics", "plots"):
            for file in (experiment / folder).iterdir():
                (other / folder / file.name).write_bytes(file.read_bytes())
        sh(other, f"dvc remote add -d store {tmp_path / 'store'}")
        sh(other, "dvc pull -q")
        assert "Running stage" not in sh(other, "dvc repro")
        assert "up to date" in sh(other, "dvc status")
    finally:
        sh(experiment, "git restore .dvc/config")
