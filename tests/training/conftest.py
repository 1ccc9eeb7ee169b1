import pytest
from training_helpers import fixed_passages

from dpr.training import parameters


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
