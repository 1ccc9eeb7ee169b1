"""Which engine and number format a device gets."""

import pytest
import torch

from dpr.base.errors import InputError
from dpr.encoders import formats

CPU = torch.device("cpu")
INT8, BF16 = ("ctranslate2", "int8"), ("torch", "bf16")
FP32 = [("ctranslate2", "fp32"), ("torch", "fp32")]


@pytest.mark.parametrize(
    ("has", "engines", "training"),
    [
        ({}, [INT8, *FP32], "fp32"),
        ({"avx512_bf16": True}, [INT8, BF16, *FP32], "bf16"),
        ({"avx512_bf16": True, "amx_tile": True}, [BF16, *FP32], "bf16"),
    ],
)
def test_auto_by_processor(monkeypatch, has, engines, training):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert formats.encoding_engines("auto", CPU) == engines
    assert formats.training_format("auto", CPU) == training
    assert formats.encoding_engines("fp32", CPU) == FP32


@pytest.mark.parametrize(("capability", "chosen"), [((9, 0), "bf16"), ((7, 5), "fp16")])
def test_auto_on_a_gpu(monkeypatch, capability, chosen):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    engines = formats.encoding_engines("auto", torch.device("cuda"))
    assert engines == [("torch", chosen), ("torch", "fp32")]


def test_a_format_that_the_device_lacks():
    with pytest.raises(InputError, match=r"encode\.precision: fp16 needs a GPU"):
        formats.encoding_engines("fp16", CPU)
    with pytest.raises(InputError, match=r"encode\.precision: int8 is for CPUs"):
        formats.encoding_engines("int8", torch.device("cuda"))


@pytest.mark.parametrize(("format", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_format_is_that_of_products(format, dtype):
    with formats.autocast(format, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
