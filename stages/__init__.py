"""The stages of dvc.yaml, each `python -m stages.NAME`: files and parameters in, files out.

A stage only calls `dpr`; logic that needs a test belongs there. All commands share `run`.
"""
