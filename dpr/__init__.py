"""Dense passage retrieval: sources, encoders, training, indexes, runs and measures.

A package for each concept; an import goes down this list and never up (pyproject.toml holds that):

    training  mining  sources  evaluation
    indexes  bm25  runs
    embeddings
    encoders
    records
    base

`settings`, `similarity` and `measures` decide for all of them. Nothing here knows of DVC.
"""
