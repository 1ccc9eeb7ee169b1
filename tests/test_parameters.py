"""What a training changes: frozen embeddings, LoRA, and the counts that it reports."""

import itertools

import numpy as np
import torch

from dpr import checkpoint
from dpr.training import parameters


def weights_of(encoder):
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_frozen_embeddings_stay(make_trainer):
    trainer = make_trainer(max_steps=2, freeze_embeddings=True)
    before = weights_of(trainer.encoder)
    trainer.run()
    moved = changed(before, weights_of(trainer.encoder))
    assert not any("word_embeddings" in name for name in moved)
    assert any("layer.0.attention" in name for name in moved)
    words = next(t for name, t in before.items() if "word_embeddings" in name)
    pooler = 32 * 32 + 32  # which mean pooling does not use
    assert trainer.counts["all"] - trainer.counts["trained"] == words.numel() + pooler
    assert all(p.requires_grad for p in trainer.encoder.parameters())


def test_lora_changes_nothing_before_its_first_step(make_encoder, make_trainer):
    trainer = make_trainer(max_steps=0, lora_rank=4)
    trainer.run()
    assert changed(weights_of(make_encoder()), weights_of(trainer.encoder)) == set()


def test_lora_trains_low_rank_additions_and_leaves_a_plain_encoder(
    make_encoder, make_trainer, tmp_path
):
    trainer = make_trainer(max_steps=6, lora_rank=2, lora_alpha=8.0, lr=1e-2)
    # Two matrices of rank 2 for query and value of each of 2 layers, all 32 by 32.
    assert trainer.counts["trained"] == 2 * 2 * 2 * 2 * 32
    history = trainer.run()
    assert history.steps[-1].loss < history.steps[0].loss
    before, after = weights_of(make_encoder()), weights_of(trainer.encoder)
    assert before.keys() == after.keys()
    moved = changed(before, after)
    assert {name.split("attention.self.")[1] for name in moved} == {"query.weight", "value.weight"}
    for name in moved:
        assert np.linalg.matrix_rank((after[name] - before[name]).numpy(), tol=1e-5) == 2
    checkpoint.save(trainer.encoder, tmp_path / "saved")
    tokens = trainer.encoder.tokenize(["the heart"], "query")
    np.testing.assert_allclose(
        checkpoint.load(tmp_path / "saved").embed(tokens, "query", 99, "fp32"),
        trainer.encoder.embed(tokens, "query", 99, "fp32"),
        atol=1e-6,
    )


def test_dropout_is_set_or_left(make_encoder, make_trainer):
    rates = lambda encoder: {  # noqa: E731
        module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)
    }
    own = rates(make_encoder())
    assert rates(make_trainer(dropout=None).encoder) == own != {0.3}
    assert rates(make_trainer(dropout=0.3).encoder) == {0.3}


def test_every_parameter_is_in_one_group(make_encoder):
    encoder = make_encoder()
    groups = parameters.groups(encoder, 1e-3, 0.1)
    decayed, others = (set(map(id, group["params"])) for group in groups)
    assert decayed.isdisjoint(others)
    assert decayed | others == set(map(id, encoder.parameters()))
    names = {id(p): name for name, p in encoder.named_parameters()}
    assert all(("bias" in names[i]) or ("LayerNorm" in names[i]) for i in others)
    assert not any("bias" in names[i] or "LayerNorm" in names[i] for i in decayed)
    assert list(itertools.chain(group["lr"] for group in groups)) == [1e-3, 1e-3]
