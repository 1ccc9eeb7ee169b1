"""Dense passage retrieval: collections, encoders, training, indexes, runs and measures."""
