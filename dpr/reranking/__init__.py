"""Reranking: a cross-encoder orders the first passages of a run again."""
