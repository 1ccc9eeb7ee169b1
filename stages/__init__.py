"""The stages of dvc.yaml, each `python -m stages.NAME`: files and parameters in, files out.

A stage reads from top to bottom like its own documentation. All that a test would want to reach is
in `dpr`; `run` has what the stages share.
"""
