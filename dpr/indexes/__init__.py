"""FAISS indexes: which kinds there are, how they are built, and what they miss."""
