"""What tests of the rounds look at."""

from pathlib import Path

import numpy as np
from helpers import contents

from dpr.base.files import sha256
from dpr.encoders import checkpoint
from dpr.records import beir

ROUND = ("vectors", "mine", "train")
SECOND = {"second.use": True, "second.lr_ratio": 1, "second.mine": {}, "second.train": {}}


def files(folder):
    """{path: sha256} of the files below a folder."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


def weights(folder):
    return {name: value for name, value in checkpoint.load(folder).named_parameters()}


def ranked(encoder, query):
    """(id, score) of all passages, as an encoder ranks them for a text, by numpy."""
    passages = list(beir.read_passages("data/training"))
    tokens = encoder.tokenize([contents(passage) for passage in passages], "passage")
    vectors = encoder.embed(tokens, "passage", 999, "fp32")
    scores = vectors @ encoder.embed(encoder.tokenize([query], "query"), "query", 99, "fp32")[0]
    order = np.argsort(-scores, kind="stable")
    return [(passages[i].id, float(scores[i])) for i in order]


def nearest(encoder, own, query, count):
    """The first ids without `own`."""
    return {passage_id for passage_id, _ in ranked(encoder, query)[:count]} - own
