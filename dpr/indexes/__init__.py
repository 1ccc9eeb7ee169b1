"""FAISS indexes over embeddings: kinds, building, searching, auditing; and search without one."""
