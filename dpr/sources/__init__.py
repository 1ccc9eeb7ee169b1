"""Where collections and training data come from; all end in the BEIR layout of `dpr.records`."""
