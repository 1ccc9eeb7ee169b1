"""Gradients in chunks and over processes equal those of the plain batch."""

import pytest
import torch
from helpers import settings, two_processes
from safetensors.torch import load_file
from training_helpers import embedded, gradients_of, require_close

from dpr.base.processes import SINGLE, ProcessGroup
from dpr.encoders import checkpoint
from dpr.training import gradients
from dpr.training.batch import Batch
from dpr.training.gradients import ActivationBudget, EncodedTexts, ForwardOptions
from dpr.training.loss import Loss, Targets

QUERIES = ["heart", "lung", "eye", "ear", "bone", "the liver and the kidney"]
PASSAGES = [
    *["a study of the heart", "the lung", "the eye and more", "hearing", "bones and muscles"],
    *["liver and kidney", "a hard negative", "and a much longer one about nothing in particular"],
]


def loss_of(encoder, count=6, **changes):
    """The first `count` queries, each with the passage of its row; the others are negatives."""
    loss = Loss(encoder.similarity, settings(**changes))
    targets = diagonal(count)
    return lambda queries, passages: loss(queries, passages, targets)


def diagonal(count):
    pairs = torch.stack([torch.arange(count)] * 2, dim=1)
    return Targets([], [], pairs, torch.eye(count, 8, dtype=torch.bool))


def dropped_out(encoder, probability):
    encoder.train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = probability
    return encoder


def batch_of(encoder, count, fixed=False):
    queries = encoder.tokenize(QUERIES[:count], "query")
    passages = encoder.tokenize(PASSAGES, "passage")
    if fixed:
        passages = torch.from_numpy(embedded(encoder, PASSAGES, "passage"))
    return Batch(queries, passages, diagonal(count))


def plain_options(chunk_size=None, precision="fp32", gib=None):
    return ForwardOptions(precision, chunk_size, ActivationBudget(gib))


def forward_backward(encoder, chunk_size, count=6, processes=SINGLE, fixed=False, **changes):
    loss, batch = loss_of(encoder, count, **changes), batch_of(encoder, count, fixed)
    torch.manual_seed(1)
    options = plain_options(chunk_size)
    value = gradients.forward_backward(encoder, batch, loss, options, processes)
    processes.sum_gradients(encoder.parameters())
    return value, gradients_of(encoder)


@pytest.mark.parametrize(("chunk_size", "tied"), [(1, True), (3, False), (5, True)])
def test_cached_gradients_equal_plain_ones_with_dropout(make_encoder, chunk_size, tied):
    """The plain ones: the same chunks, so the same dropout, in one graph."""
    encoder = dropped_out(make_encoder(tied=tied), 0.2)
    value, cached = forward_backward(encoder, chunk_size)

    reference = dropped_out(make_encoder(tied=tied), 0.2)
    torch.manual_seed(1)
    vectors = []
    for texts, role in ((QUERIES, "query"), (PASSAGES, "passage")):
        tokens = reference.tokenize(texts, role)
        order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
        parts = [
            reference([tokens[i] for i in order[at : at + chunk_size]], role)
            for at in range(0, len(order), chunk_size)
        ]
        vectors.append(torch.cat(parts)[torch.tensor(order).argsort()])
    expected = loss_of(reference)(*vectors)
    expected.backward()
    # With the same dropout in each chunk, this would prove nothing.
    same = EncodedTexts(encoder, [tokens[0]] * 2, "passage", plain_options(1)).vectors
    assert not torch.allclose(same[0], same[1])
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    plain = gradients_of(reference)
    require_close(cached, plain)
    assert max(gradient.abs().max() for gradient in plain.values()) > 1e-2


def test_the_passes_of_a_batch_have_the_gradients_of_one(make_encoder, monkeypatch):
    encoder = make_encoder()
    value, in_one = forward_backward(encoder, None)
    monkeypatch.setattr(gradients, "CPU_TOKENS", 12)
    tokens = encoder.tokenize(PASSAGES, "passage")
    passes = EncodedTexts(encoder, tokens, "passage", plain_options()).chunks
    assert sorted(i for chunk in passes for i in chunk) == list(range(8))
    assert 1 < len(passes) < 8
    again, in_several = forward_backward(make_encoder(), None)
    assert again.item() == pytest.approx(value.item(), rel=1e-6)
    require_close(in_several, in_one)


@pytest.mark.parametrize(("precision", "tied"), [("fp32", True), ("fp32", False), ("bf16", False)])
def test_a_spent_budget_leaves_the_same_bits(make_encoder, monkeypatch, tied, precision):
    """A pass is computed twice, with the same dropout. Autograd's own sums are the reference."""
    monkeypatch.setattr(gradients, "CPU_TOKENS", 12)
    encoder = dropped_out(make_encoder(tied=tied), 0.2)
    batch, loss = batch_of(encoder, 6), loss_of(encoder)
    torch.manual_seed(1)
    graphs = []
    for tokens, role in ((batch.queries, "query"), (batch.passages, "passage")):
        encoded = EncodedTexts(encoder, tokens, role, plain_options(precision=precision))
        order = torch.tensor([i for chunk in encoded.chunks for i in chunk]).argsort()
        graphs.append(torch.cat(encoded.kept)[order])
    loss(*graphs).backward()
    reference = gradients_of(encoder)

    def with_budget(gib=None):
        again = dropped_out(make_encoder(tied=tied), 0.2)
        torch.manual_seed(1)
        options = plain_options(precision=precision, gib=gib)
        gradients.forward_backward(again, batch, loss, options, SINGLE)
        return gradients_of(again)

    expected = with_budget()
    for gib in (1e-5, 5e-5):
        again = with_budget(gib)
        assert again.keys() == reference.keys()
        assert all(torch.equal(again[name], expected[name]) for name in reference)
    for name, gradient in reference.items():
        if tied:  # autograd first adds up what is to be added to a parameter
            torch.testing.assert_close(expected[name], gradient)
        else:
            assert torch.equal(expected[name], gradient)


def test_the_budget_counts_what_a_backward_pass_needs():
    """A linear layer keeps its input; a Tanh its result: 4 bytes x 10 x 8 each."""
    budget = ActivationBudget(1000 / 2**30)
    layer, texts = torch.nn.Linear(8, 8), torch.randn(10, 8)
    assert budget.allows(10**6)  # nothing is known
    with budget.spend(10):
        layer(texts).tanh()
    assert budget.used == 640
    assert budget.allows(5)
    assert not budget.allows(6)
    with budget.spend(10):
        layer(texts).tanh()
    assert budget.used == 1280
    budget.reset()
    assert budget.allows(15)


# --- several processes


@pytest.mark.parametrize(("count", "size"), [(6, 2), (7, 2), (8, 3), (1, 3)])
def test_the_shards_make_up_the_batch(count, size):
    shards = [ProcessGroup(rank, size).shard(count) for rank in range(size)]
    assert [i for shard in shards for i in range(count)[shard]] == list(range(count))
    assert max(s.stop - s.start for s in shards) - min(s.stop - s.start for s in shards) <= 1


WORKER = """
from safetensors.torch import save_file
from dpr.base import runtime
from dpr.encoders import checkpoint
from dpr.base.processes import ProcessGroup
from test_gradients import CASES, forward_backward

runtime.set_up(threads=1, seed=0)
processes = ProcessGroup.join(runtime.device())
assert processes.size == 2
for name, (tied, queries, chunk_size, changes) in CASES.items():
    encoder = checkpoint.load(f"{folder}/tied-{{tied}}")
    value, together = forward_backward(encoder, chunk_size, queries, processes, **changes)
    assert processes.broadcast((value.item(), 0.1)) == (value.item(), 0.1)
    save_file(together | {{"the loss": value}}, f"{folder}/{{name}}-{{processes.rank}}")
processes.leave()
"""
CASES = {  # tied, queries, chunk_size, settings
    "plain": (True, 6, None, {}),
    "separate": (False, 6, None, {}),
    "more": (True, 6, 2, {"symmetric": True, "matryoshka": [8]}),
    "few": (True, 1, None, {}),  # the first process has no query to encode
    "few-separate": (False, 1, 2, {}),
    "fixed": (False, 6, 2, {"fixed": True}),
}


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(make_encoder, tmp_path):
    encoders = {tied: make_encoder(tied=tied) for tied in (True, False)}
    for tied, encoder in encoders.items():
        checkpoint.save(encoder, tmp_path / f"tied-{tied}")
    two_processes(tmp_path / "worker.py", WORKER, folder=tmp_path)
    for name, (tied, queries, _, changes) in CASES.items():
        value, alone = forward_backward(make_encoder(tied=tied), None, queries, **changes)
        for rank in (0, 1):
            together = load_file(tmp_path / f"{name}-{rank}")
            assert together.pop("the loss").item() == pytest.approx(value.item(), rel=1e-6)
            require_close(together, alone, rtol=1e-4)
