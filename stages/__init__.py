"""The stages of dvc.yaml, each `python -m stages.NAME`: files and parameters in, files out.

A stage only calls `dpr`; logic that needs a test belongs there. All commands share `run`.
"""

import os

# OpenMP's threads spin while they wait for one another, and so burn a core that other work needs.
# They spin for less time here: beside one busy process on two cores, a step of the second round is
# 1.7 times as fast; alone, it is up to a tenth slower. Read when torch and faiss are imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
