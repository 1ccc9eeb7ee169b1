"""Dense passage retrieval: sources, encoders, training, indexes, runs and measures.

A package for each concept; pyproject.toml says which may import which. `settings`, `similarity` and
`measures` are for all of them. Nothing here knows of DVC.
"""
