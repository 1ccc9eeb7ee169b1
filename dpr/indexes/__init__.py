"""FAISS indexes over embeddings: kinds, building, searching, auditing; and search without one."""

import torch  # noqa: F401  before FAISS: macOS on ARM is reported to crash in the other order
