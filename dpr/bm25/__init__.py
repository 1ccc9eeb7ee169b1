"""BM25 by Lucene, through pyserini, on the Java that a Python package carries."""
