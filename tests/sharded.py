"""Embeddings, an index, a ranking and two searches by a group of processes.

A module of its own: a process of torchrun starts faster without pytest and helpers.py.
"""

import os
from pathlib import Path

import numpy as np
import torch

from dpr.base import runtime
from dpr.base.processes import ProcessGroup
from dpr.embeddings.passages import encode_passages
from dpr.encoders.embedder import Embedder
from dpr.indexes import exact_search as exact_module
from dpr.indexes.build import build
from dpr.indexes.exact_search import Resources, exact_search
from dpr.indexes.feedback import with_feedback
from dpr.indexes.index import Index
from dpr.mining.rankers import encoder_ranker
from dpr.records.corpus import Corpus
from dpr.records.types import Query
from dpr.settings import EncodeSettings, load_settings

CPU = torch.device("cpu")
OPTIONS = EncodeSettings(window=7, batch_tokens=128, precision="fp32", dtype="float16")
# Of different lengths: the last bits of a vector depend on the batch that it is computed in.
WORDS = ["heart", "lung", "brain", "bone", "eye"]
QUERIES = [Query(f"q{n}", f"{WORDS[n % 5]} and {WORDS[n % 3]} " * (n % 7)) for n in range(40)]
MEMORY = 10 * 32 * 10 / 2**30  # of 3 vectors at a time
PARAMS = Path(__file__).parents[1] / "params.yaml"


def join_and_make(folder, dies=None):
    """In a process of torchrun; the second one may die in its n-th window."""
    group = ProcessGroup.join(CPU)
    exact_module.TILE = (4, 3)
    make(Path(folder), group, dies if group.rank == 1 else None)
    group.leave()


def make(folder, group, dies=None):
    runtime.set_up(threads=1)
    embedder = Embedder(folder / "encoder", OPTIONS, CPU, folder)
    embedder.embed = counted(embedder.embed, dies)
    corpus = Corpus(folder / "collection", ". ")
    embeddings = encode_passages(embedder, corpus, folder / "out", group)
    resources = Resources(MEMORY, group)
    rank = encoder_ranker(embedder, embeddings, 20, None, resources)
    ranked = rank(QUERIES, {query.id: ["d03"] for query in QUERIES})
    vectors = embedder.embed_queries(QUERIES)
    exact = exact_search(embeddings, vectors, 30, resources=resources)
    chosen = load_settings(PARAMS).index.model_copy(update={"kind": "IVF3,SQ8"})
    build(embeddings, chosen, 0, folder / "cells", group)
    group.wait()
    index = Index.open(folder / "cells", embeddings, resources)
    approximate = index.search(vectors, 20, nprobe=2, rescore=40)
    search = load_settings(PARAMS).search
    feedback = search.feedback.model_copy(update={"method": "rocchio"})
    search = search.model_copy(update={"top_k": 20, "nprobe": 2, "feedback": feedback})
    moved = with_feedback(index, QUERIES, vectors, search)
    assert (moved != vectors).any()
    np.savez(folder / f"found-{group.rank}.npz", *exact, *approximate, moved)
    if group.is_first:
        (folder / "ranked.txt").write_text(repr(ranked))


def counted(embed, dies):
    """Prints a line for each window of passages; in the n-th the process may die."""
    calls = []

    def embed_or_die(tokens, role, *rest):
        calls.append(1)
        if len(calls) == dies:
            os._exit(9)
        if role == "passage":
            print("a window", flush=True)
        return embed(tokens, role, *rest)

    return embed_or_die
