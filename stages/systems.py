"""The systems that are compared, in the order of tables and plots."""

ENCODERS = ("zero_shot", "dense")  # the matrix of encode, index and search in dvc.yaml
SYSTEMS = ("bm25", *ENCODERS, "rrf", "hybrid")
