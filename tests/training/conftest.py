import pytest
from helpers import settings
from training_helpers import fixed_passages

from dpr.records import beir
from dpr.records.corpus import Corpus
from dpr.training import parameters
from dpr.training.pairs import PairSet


@pytest.fixture
def make_pairs(collection, make_encoder, tmp_path_factory):
    """make_pairs(pairs, batch_size=...) -> a PairSet. `reading` has more arguments of it."""

    def make(pairs=None, folder=collection, encoder=None, reading=None, **changes):
        pairs = beir.read_pairs(folder) if pairs is None else pairs
        encoder, work = encoder or make_encoder(), tmp_path_factory.mktemp("work")
        corpus = Corpus(folder, ". ")
        return PairSet(corpus, pairs, encoder, settings(**changes), work, **(reading or {}))

    return make


@pytest.fixture
def make_query_side(make_encoder, make_trainer, collection):
    """make_query_side(at_most=...) -> a Trainer of the query encoder alone."""

    def make(at_most=None, tied=True, seed=0, **changes):
        encoder = make_encoder(tied=tied)
        fixed = fixed_passages(encoder, collection, at_most, seed)
        reading = {"fixed": fixed} | changes.pop("reading", {})
        encoder = parameters.for_roles(encoder, "query")
        small = {"roles": "query", "max_steps": 6, "dropout": 0.0}
        return make_trainer(encoder=encoder, reading=reading, **(small | changes))

    return make
