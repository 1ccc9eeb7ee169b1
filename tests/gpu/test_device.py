"""The device compared with the CPU: vectors, gradients, equal bytes, resuming, memory.

make gpu                                             # on a GPU
pytest -m gpu --confcutdir tests/gpu tests/gpu       # the same on the CPU
"""

import itertools
import random
import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from dpr.base import runtime
from dpr.base.processes import SINGLE
from dpr.encoders import formats
from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.records.types import Pair, Passage, Query
from dpr.settings import Pooling, load_settings
from dpr.training.batch import Batch, SampledPair, passages_of, targets_of
from dpr.training.gradients import ActivationBudget, ForwardOptions, forward_backward
from dpr.training.log import Validation
from dpr.training.loss import Loss
from dpr.training.pairs import PairSet
from dpr.training.snapshot import Autosave
from dpr.training.trainer import Trainer

pytestmark = pytest.mark.gpu
CPU = torch.device("cpu")
TRAIN = load_settings(Path(__file__).parents[2] / "params.yaml").train
random.seed(0)
TEXTS = [" ".join(f"word{random.randrange(200)}" for _ in range(n)) for n in (1, 3, 9, 20, 40, 44)]


@pytest.mark.parametrize("similarity", ["cosine", "dot", "l2", "l1"])
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_vectors_are_those_of_the_cpu(make_encoder, device, pooling, similarity):
    encoder = make_encoder(pooling=pooling, similarity=similarity)
    tokens = encoder.tokenize(TEXTS, "passage")
    expected = encoder.embed(tokens, "passage", 64, "fp32")
    moved = encoder.to(device)
    vectors = moved.embed(tokens, "passage", 64, "fp32")
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
    on_device, on_cpu = (
        encoder.similarity.scores(torch.from_numpy(v).to(d), torch.from_numpy(v).to(d)).cpu()
        for v, d in ((vectors, device), (expected, CPU))
    )
    torch.testing.assert_close(on_device, on_cpu, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("format", ["bf16", "fp16"])
@pytest.mark.parametrize("half_weights", [True, False])
def test_half_precision_is_near_fp32(make_encoder, device, format, half_weights):
    if device.type == "cpu" and format == "fp16":
        pytest.skip("fp16 is for GPUs")
    encoder = make_encoder()
    tokens = encoder.tokenize(TEXTS, "passage")
    expected = encoder.embed(tokens, "passage", 64, "fp32")
    moved = encoder.to(device, formats.HALF[format] if half_weights else torch.float32)
    vectors = moved.embed(tokens, "passage", 64, "fp32" if half_weights else format)
    cosines = (expected * vectors).sum(axis=1) / np.linalg.norm(vectors, axis=1)
    assert cosines.min() > 0.999
    assert not np.array_equal(vectors, expected)


def batch_of(encoder):
    pairs = [SampledPair(f"q{i}", f"d{i}") for i in range(len(TEXTS))]
    queries = encoder.tokenize([text.split()[0] for text in TEXTS], "query")
    targets = targets_of(pairs, passages_of(pairs), lambda query: ())
    return Batch(queries, encoder.tokenize(TEXTS, "passage"), targets)


def gradients(encoder, precision, chunk_size):
    encoder.train()
    batch = batch_of(encoder)
    loss = Loss(encoder.similarity, TRAIN).to(encoder.device)
    options = ForwardOptions(precision, chunk_size, ActivationBudget())
    value = forward_backward(encoder, batch, lambda *v: loss(*v, batch.targets), options, SINGLE)
    named = encoder.named_parameters()
    return value.item(), {n: p.grad.cpu() for n, p in named if p.grad is not None}


@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize(("format", "tolerance"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_gradients_are_those_of_the_cpu(make_encoder, device, format, tolerance, chunk_size):
    value, expected = gradients(make_encoder(), "fp32", None)
    moved, found = gradients(make_encoder().to(device), format, chunk_size)
    assert moved == pytest.approx(value, rel=tolerance)
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() < tolerance * largest, name


def test_cached_gradients_have_the_dropout_of_the_first_pass(make_encoder, device):
    """The plain ones: the same chunks in one graph, after the same seed."""
    cached = make_encoder(dropout=0.2).to(device)
    torch.manual_seed(1)
    value, found = gradients(cached, "fp32", 2)
    plain = make_encoder(dropout=0.2).to(device).train()
    batch = batch_of(plain)
    torch.manual_seed(1)
    vectors = []
    for tokens, role in ((batch.queries, "query"), (batch.passages, "passage")):
        order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
        parts = [plain([tokens[i] for i in order[n : n + 2]], role) for n in range(0, 6, 2)]
        vectors.append(torch.cat(parts)[torch.tensor(order).argsort()])
    expected = Loss(plain.similarity, TRAIN)(*vectors, batch.targets)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in plain.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(found[name], parameter.grad.cpu(), atol=1e-4, rtol=1e-3)


class Killed(Exception):
    pass


def trainer_of(encoder, snapshot=None, **changes):
    small = {"batch_size": 4, "max_steps": 8, "eval_every": 4, "lr": 1e-3, "initial_share": 0.0}
    chosen = TRAIN.model_copy(update=small | {"group_by": None, "dropout": 0.1} | changes)
    folder = Path(tempfile.mkdtemp())
    beir.write_queries(folder, [Query(f"q{i}", text) for i, text in enumerate(TEXTS)])
    beir.write_passages(folder, [Passage(f"d{i}", "", text) for i, text in enumerate(TEXTS)])
    beir.write_qrels(folder, "train", [])
    pairs = [Pair(f"q{i}", f"d{i}") for i in range(len(TEXTS))]
    return Trainer(
        encoder=encoder,
        pairs=PairSet(Corpus(folder, ""), pairs, encoder, chosen, folder),
        validate=lambda encoder, step: Validation(step, 1.0, float(step)),
        settings=chosen,
        seed=0,
        autosave=Autosave(snapshot, 3, itertools.count().__next__),
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_two_trainings_have_equal_bytes_and_so_has_a_resumed_one(
    make_encoder, device, tmp_path, precision, chunk_size
):
    changes = {"precision": precision, "chunk_size": chunk_size}
    first = trainer_of(make_encoder(dropout=0.1).to(device), **changes)
    expected = first.run()
    torch.manual_seed(5)
    assert trainer_of(make_encoder(dropout=0.1).to(device), **changes).run() == expected

    file = tmp_path / "snapshot.safetensors"
    killed = trainer_of(make_encoder(dropout=0.1).to(device), file, **changes)
    update, steps = killed.optimizer.step, []

    def update_or_die():
        steps.append(1)
        if len(steps) == 6:
            raise Killed
        return update()

    killed.optimizer.step = update_or_die
    with pytest.raises(Killed):
        killed.run()
    assert file.exists()
    torch.manual_seed(9)
    second = trainer_of(make_encoder(dropout=0.1).to(device), file, **changes)
    assert second.run() == expected
    weights = first.encoder.state_dict()
    for name, tensor in second.encoder.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


def test_memory_grows_with_the_batch_alone(make_encoder, device):
    if device.type == "cpu":
        pytest.skip("a GPU counts its memory")
    encoder = make_encoder().to(device)
    tokens = encoder.tokenize(TEXTS * 500, "passage")
    peaks = []
    for count, batch_tokens in ((3000, 4096), (1500, 4096), (3000, 16_384)):
        torch.cuda.reset_peak_memory_stats()
        encoder.embed(tokens[:count], "passage", batch_tokens, "fp32")
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[0] < 1.2 * peaks[1]
    assert peaks[2] > 1.5 * peaks[0]


def test_a_random_state_is_restored_on_the_device(device):
    state = runtime.random_state(device)
    first = torch.rand(5, device=device)
    runtime.set_random_state(state, device)
    assert torch.equal(torch.rand(5, device=device), first)
