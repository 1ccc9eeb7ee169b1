"""What a training changes: frozen embeddings, LoRA, and the counts that it reports."""

import numpy as np
import pytest
import torch
from training_helpers import changed, mpnet, weights_of

from dpr.encoders import checkpoint
from dpr.training import parameters


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


def test_lora_trains_low_rank_additions_and_leaves_a_plain_encoder(
    make_encoder, make_trainer, tmp_path, monkeypatch
):
    trainer = make_trainer(max_steps=6, lora_rank=2, lora_alpha=8.0, lr=1e-2)
    # Two matrices of rank 2 beside each linear layer: four of 32 by 32, two of 32 by 64 in a layer.
    assert trainer.counts["trained"] == 2 * (4 * 2 * (32 + 32) + 2 * 2 * (32 + 64))
    added, merge = {}, parameters.merge

    def merged(encoder):
        added.update(weights_of(encoder))
        merge(encoder)

    monkeypatch.setattr(parameters, "merge", merged)
    history = trainer.run()
    assert history.steps[0].loss == pytest.approx(make_trainer(max_steps=1).run().steps[0].loss)
    assert history.steps[-1].loss < history.steps[0].loss
    before, after = weights_of(make_encoder()), weights_of(trainer.encoder)
    moved = changed(before, after)
    assert len(moved) == 2 * 6 * 2  # tied: each under the names of both roles
    assert all(name.endswith("weight") and "pooler" not in name for name in moved)
    for name in moved:  # Hu et al. 2021: W + alpha / r B A
        where = name.removesuffix(".weight").replace("0.model.", "0.model.base_model.model.")
        low, high = (added[f"{where}.lora_{x}.default.weight"] for x in "AB")
        torch.testing.assert_close(after[name], before[name] + 8.0 / 2 * high @ low)
        assert np.linalg.matrix_rank((high @ low).numpy(), tol=1e-5) == 2
    checkpoint.save(trainer.encoder, tmp_path / "saved")
    tokens = trainer.encoder.tokenize(["the heart"], "query")
    np.testing.assert_allclose(
        checkpoint.load(tmp_path / "saved").embed(tokens, "query", 99, "fp32"),
        trainer.encoder.embed(tokens, "query", 99, "fp32"),
        atol=1e-6,
    )


def test_lora_of_a_model_without_a_recipe_of_its_own(make_encoder, make_trainer):
    """MPNet names its layers as no model in peft does."""
    encoder = mpnet(make_encoder())
    before = weights_of(encoder)
    make_trainer(encoder=encoder, max_steps=1, lora_rank=2).run()
    moved = changed(before, weights_of(encoder))
    assert {"attn.q.weight", "output.dense.weight"} <= {
        name.split("layer.0.")[-1].removeprefix("attention.") for name in moved
    }
    assert len(moved) == 6 * 2


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
    assert [group["lr"] for group in groups] == [1e-3, 1e-3]
