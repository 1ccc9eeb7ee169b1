"""What several tests of training call."""

import numpy as np

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
