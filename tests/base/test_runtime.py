"""Devices, random states and number formats."""

import pytest
import torch

from dpr.base import runtime
from dpr.base.errors import InputError


def test_more_processes_than_gpus_are_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runtime.device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"launcher: it started process 3 .* has 2 GPU"):
        runtime.device()


def test_a_random_state_is_restored():
    state = runtime.random_state(torch.device("cpu"))
    first = torch.rand(5)
    assert not torch.equal(torch.rand(5), first)
    runtime.set_random_state(state, torch.device("cpu"))
    assert torch.equal(torch.rand(5), first)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_the_number_format_is_that_of_products(precision, dtype):
    with runtime.autocast(precision, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
