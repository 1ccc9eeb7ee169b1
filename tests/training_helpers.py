"""What several tests of training call."""

import numpy as np
import torch
from transformers import MPNetConfig, MPNetModel

from dpr.embeddings.artifact import Embeddings
from dpr.records.corpus import Corpus
from dpr.training.passages import FixedPassages


class Killed(BaseException):
    pass


def dies_at(trainer, step):
    """Make the trainer die in the middle of a step: gradients done, weights not yet changed."""
    update, calls = trainer.optimizer.step, []

    def update_or_die():
        calls.append(1)
        if len(calls) == step:
            raise Killed
        return update()

    trainer.optimizer.step = update_or_die


def embedded(encoder, texts, role):
    return encoder.embed(encoder.tokenize(texts, role), role, 2048, "fp32")


def fixed_passages(encoder, folder, at_most=None, seed=0):
    """The vectors of a folder's passages, as a memory map."""
    ids, texts = zip(*Corpus(folder, ". ").texts(), strict=True)
    np.save(folder / "vectors.npy", embedded(encoder, list(texts), "passage"))
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    return FixedPassages(Embeddings(vectors, list(ids), {}), at_most, seed)


def weights_of(module):
    """A copy of parameters and buffers; of a tied encoder, under the names of both roles."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, after):
    """The names of tensors that differ in their bits."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def gradients_of(module):
    """{name: gradient} of the parameters that have one."""
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def require_close(gradients, expected, rtol=1e-5, atol=1e-5):
    assert gradients.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, atol=atol, rtol=rtol)


def mpnet(encoder):
    """Give a tied encoder a small MPNet: no gradient checkpointing, no recipe for LoRA in peft."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = MPNetConfig(
        num_hidden_layers=1, vocab_size=len(encoder.passage.first.tokenizer), **sizes
    )
    encoder.passage.transformer.model = MPNetModel(config).eval()
    return encoder
