"""Equal keys for equal work, whatever process asks; another key for any other work."""

import os
import subprocess
import sys

from helpers import ROOT

KEYS = """
import torch
from dpr.base import resume
from dpr.training import schedule

for changes in ({}, {"files": "b"}, {"seed": 43}, {"lr": 1e-5}, {"processes": 2}, {"threads": 1}):
    made = {"files": "a", "seed": 42, "lr": 1e-4, "processes": 1, "threads": 2} | changes
    torch.set_num_threads(made["threads"])
    settings = [made["seed"], ". ", {"lr": made["lr"], "names": list("abc")}, made["processes"]]
    inputs = {"files": made["files"], "settings": settings}
    print(resume.key(inputs, torch.device("cpu")))
"""


def test_another_process_has_the_same_key_and_another_training_another():
    """As stages/train.py makes it."""
    root = {"PYTHONPATH": str(ROOT)}
    first, second = (
        subprocess.check_output(
            [sys.executable, "-c", KEYS],
            env=os.environ | root | {"PYTHONHASHSEED": seed},
            text=True,
        ).split()
        for seed in "12"
    )
    assert first == second
    assert len(set(first)) == len(first) == 6


def test_what_is_imported_only_when_needed_does_not_change_the_key():
    """A process that converts an encoder imports more than one that finds it converted."""
    ask = "print(resume.key({}, torch.device('cpu')))"
    code = f"""
import torch
from dpr.base import resume
from dpr.encoders import embedder
{ask}
from dpr.encoders import conversion, checkpoint
{ask}
"""
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert len(printed.split()) == 2
    assert len(set(printed.split())) == 1
