"""The group of processes that a launcher starts."""

import pytest
import torch
from torch import distributed

from dpr.base.processes import ProcessGroup


@pytest.mark.parametrize("device", ["cuda:3", "cpu"])
def test_a_process_on_a_gpu_says_which_one_it_has(monkeypatch, device):
    """A barrier would take another one: the rank among all machines, not that of this one."""
    asked, current = [], []
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setattr(distributed, "init_process_group", lambda *a, **k: asked.append((a, k)))
    monkeypatch.setattr(distributed, "get_rank", lambda: 11)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 16)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    group = ProcessGroup.join(torch.device(device))
    assert (group.rank, group.size, group.device) == (11, 16, torch.device(device))
    ((backend,), options) = asked[0]
    if device == "cpu":
        assert (backend, current) == ("gloo", []) and "device_id" not in options
    else:
        assert backend == "nccl" and options["device_id"] == current[0] == torch.device(device)
