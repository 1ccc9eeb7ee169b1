"""FAISS indexes over embeddings (kinds, building, searching, auditing), and exact search."""

import torch  # noqa: F401  before FAISS: macOS on ARM is reported to crash in the other order
