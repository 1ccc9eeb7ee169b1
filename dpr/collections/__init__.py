"""Collections to search and to train on, all written in the BEIR layout."""
