"""The sources of batches beside sentence-transformers' samplers of several data sets."""

import itertools
from collections import Counter

import numpy as np
import pytest
from helpers import settings
from sentence_transformers.base import sampler
from torch.utils.data import BatchSampler, ConcatDataset, RandomSampler

from dpr.training.batch import Groups

SIZES = [(8, 8), (13, 30, 5), (4, 100), (9,)]
BATCH = 4


def theirs(kind, sizes):
    """Their sampler, over batches of each data set that drop the last one."""
    datasets = [range(size) for size in sizes]
    own = [BatchSampler(RandomSampler(d), BATCH, drop_last=True) for d in datasets]
    return kind(ConcatDataset(datasets), own)


def ours(sizes, mixture):
    source_of = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    pairs = np.column_stack([np.arange(sum(sizes))] * 2)
    chosen = settings(mixture=mixture, one_source=True, batch_size=BATCH)
    return Groups(pairs, source_of, chosen)


def sources(batches, sizes):
    ends = np.cumsum(sizes)
    found = [set(np.searchsorted(ends, batch, side="right").tolist()) for batch in batches]
    assert all(len(of_batch) == 1 for of_batch in found)
    return [of_batch.pop() for of_batch in found]


@pytest.mark.parametrize("sizes", SIZES)
def test_proportional_epochs_have_as_many_batches_of_each_source(sizes):
    sampler_ = theirs(sampler.ProportionalBatchSampler, sizes)
    expected = Counter(sources(sampler_, sizes))
    made = ours(sizes, "proportional")
    assert made.batches_per_epoch == len(sampler_)
    batches = made.batches(np.random.default_rng(0))
    for _ in range(3):
        epoch = list(itertools.islice(batches, len(sampler_)))
        assert Counter(sources(epoch, sizes)) == expected
        assert len(set(np.concatenate(epoch).tolist())) == len(sampler_) * BATCH  # each once


@pytest.mark.parametrize("sizes", SIZES)
def test_round_robin_has_their_order_of_sources(sizes):
    sampler_ = theirs(sampler.RoundRobinBatchSampler, sizes)
    expected = sources(sampler_, sizes)
    batches = ours(sizes, "round_robin").batches(np.random.default_rng(0))
    assert sources(list(itertools.islice(batches, len(expected))), sizes) == expected
