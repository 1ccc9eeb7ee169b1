"""The records of a test collection, and the files that hold them."""
