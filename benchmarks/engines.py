"""The engines that `benchmarks.encoding` compares: this project's and those of other libraries."""

import importlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dpr.base import runtime
from dpr.base.environment import thread_count
from dpr.encoders.embedder import Embedder
from dpr.settings import load_settings
from stages.run import SCRATCH

ENCODER = Path("data/encoders/zero_shot")
Encode = Callable[[list[str]], np.ndarray]
REFERENCE = "sentence-transformers, fp32"
BACKENDS = {"onnx": "optimum.onnxruntime", "openvino": "optimum.intel"}  # required modules


def this_project(precision: str) -> Callable[[torch.device], Encode]:
    def open_engine(device: torch.device) -> Encode:
        settings = load_settings("params.yaml")
        runtime.set_up(settings.threads)
        options = settings.encode.model_copy(update={"precision": precision})
        embedder = Embedder(ENCODER, options, device, SCRATCH)
        return lambda texts: embedder.embed_texts(texts, "passage")

    return open_engine


def sentence_transformers(**options: Any) -> Callable[[torch.device], Encode]:
    def open_engine(device: torch.device) -> Encode:
        from sentence_transformers import SentenceTransformer

        if "backend" in options:  # the library itself raises no ImportError
            importlib.import_module(BACKENDS[options["backend"]])
        torch.set_num_threads(thread_count(load_settings("params.yaml").threads))
        model = SentenceTransformer(str(ENCODER), device=str(device), **options)
        size = 32 if device.type == "cpu" else 256
        return lambda texts: model.encode(texts, batch_size=size, show_progress_bar=False)

    return open_engine


def plain(device: torch.device) -> Encode:
    """transformers alone: padded batches of 32 in the given order, mean of the token states."""
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(thread_count(load_settings("params.yaml").threads))
    model = AutoModel.from_pretrained(ENCODER).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(ENCODER)
    limit = tokenizer.model_max_length

    @torch.inference_mode()
    def encode(texts: list[str]) -> np.ndarray:
        vectors = []
        for start in range(0, len(texts), 32):
            batch = tokenizer(
                texts[start : start + 32],
                padding=True,
                truncation=True,
                max_length=limit,
                return_tensors="pt",
            ).to(device)
            states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            mean = (states * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(mean, dim=-1).cpu().numpy())
        return np.concatenate(vectors)

    return encode


def onnx_int8(device: torch.device) -> Encode:
    """The dynamic int8 export of sentence-transformers' ONNX backend."""
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    importlib.import_module(BACKENDS["onnx"])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(ENCODER, Path(folder) / "model"))
        model = SentenceTransformer(str(copy), backend="onnx", device="cpu")
        export_dynamic_quantized_onnx_model(model, "avx2", str(copy))
        file = {"file_name": "model_qint8_avx2.onnx"}
        model = SentenceTransformer(str(copy), backend="onnx", device="cpu", model_kwargs=file)
    return lambda texts: model.encode(texts, show_progress_bar=False)


CPU_ENGINES: dict[str, tuple[str, Callable[[torch.device], Encode]]] = {
    REFERENCE: ("fp32", sentence_transformers()),
    "sentence-transformers, bf16": (
        "bf16",
        sentence_transformers(model_kwargs={"dtype": torch.bfloat16}),
    ),
    "sentence-transformers, ONNX fp32": ("fp32", sentence_transformers(backend="onnx")),
    "sentence-transformers, OpenVINO fp32": ("fp32", sentence_transformers(backend="openvino")),
    "sentence-transformers, ONNX int8": ("int8", onnx_int8),
    "transformers, fp32": ("fp32", plain),
    "this project, fp32": ("fp32", this_project("fp32")),
    "this project, bf16": ("bf16", this_project("bf16")),
    "this project, int8": ("int8", this_project("int8")),
}
GPU_ENGINES = {
    REFERENCE: ("fp32", sentence_transformers()),
    "sentence-transformers, bf16": (
        "bf16",
        sentence_transformers(model_kwargs={"dtype": torch.bfloat16}),
    ),
    "this project, fp32": ("fp32", this_project("fp32")),
    "this project, bf16": ("bf16", this_project("bf16")),
    "this project, fp16": ("fp16", this_project("fp16")),
}
ENGINES = CPU_ENGINES | GPU_ENGINES
