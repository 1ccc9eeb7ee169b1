"""Vectors of a corpus and of queries: encoded, stored, read again in chunks."""
