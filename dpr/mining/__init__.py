"""Hard negatives for training pairs: the rule, and the rankers that it picks from."""
