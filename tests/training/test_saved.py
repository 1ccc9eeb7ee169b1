"""What is saved is what was validated: for each dtype, with LoRA, a running mean, a share."""

import numpy as np
import pytest
import torch
from helpers import SHORT, open_model

from dpr.encoders import checkpoint
from dpr.training.log import Validation

TEXTS = ["heart", "a study of the liver", "eye ear"]
CASES = [  # dtype, LoRA's rank and the initial share, ema
    ("float32", (4, 0.0), 0.4),
    ("float32", (0, 0.3), None),
    ("bfloat16", (4, 0.0), None),
    ("bfloat16", (0, 0.3), 0.4),
]


def vectors(encoder):
    return encoder.eval().embed(encoder.tokenize(TEXTS, "query"), "query", 64)


@pytest.mark.parametrize(("dtype", "lora_and_share", "ema"), CASES)
def test_the_best_validation_is_of_the_vectors_that_are_saved(
    tiny_model, make_trainer, tmp_path, dtype, lora_and_share, ema
):
    seen = {}

    def validate(encoder, step):
        seen[step] = vectors(encoder)
        return Validation(step, 0.0, -abs(step - 4))  # the fourth step is the best, not the last

    encoder = open_model(tiny_model, dtype=dtype, **SHORT)
    rank, share = lora_and_share
    changes = {"lora_rank": rank, "initial_share": share, "ema": ema, "lr": 1e-2}
    trainer = make_trainer(validate, encoder, max_steps=6, eval_every=2, **changes)
    assert trainer.run().best.step == 4
    checkpoint.save(trainer.encoder, tmp_path / "saved")
    loaded = checkpoint.load(tmp_path / "saved")
    assert {p.dtype for p in loaded.parameters()} == {getattr(torch, dtype)}
    loaded.passage.transformer.model.set_attn_implementation(
        "eager"
    )  # as in training: the same last bits
    assert loaded.spec.lineage == trainer.encoder.spec.lineage
    for encoder in (trainer.encoder, loaded):
        np.testing.assert_array_equal(vectors(encoder), seen[4])
    assert np.abs(seen[4] - seen[0]).max() > 1e-3


@pytest.mark.parametrize("ema", [None, 0.4])
def test_a_validation_changes_no_step_of_lora_in_bfloat16(tiny_model, make_trainer, ema):
    """Unmerging would round the frozen weights once more."""

    def trained(eval_every):
        encoder = open_model(tiny_model, dtype="bfloat16", **SHORT)
        changes = {"lora_rank": 4, "ema": ema, "lr": 1e-2, "eval_every": eval_every}
        trainer = make_trainer(encoder=encoder, max_steps=4, **changes)
        return trainer.run().steps, vectors(trainer.encoder)

    (steps, seldom), (others, often) = trained(4), trained(1)
    assert steps == others
    np.testing.assert_array_equal(seldom, often)
