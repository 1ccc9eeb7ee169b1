"""Another folder, locale, time zone and hash seed: the same bytes."""

import shutil

import pytest
from graph_helpers import STEPS
from staged import made, run

OTHERS = {"LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Apia", "PYTHONHASHSEED": "7"}


@pytest.mark.slow
def test_elsewhere(stages_done, tmp_path):
    folder = tmp_path / "a 'quoted' é 数据"
    folder.mkdir()
    for name in ("params.yaml", "versions.yaml"):
        shutil.copy(stages_done / name, folder)
    for step in STEPS:
        run(folder, *step, **OTHERS)
        assert made(folder, *step) == made(stages_done, *step), step
