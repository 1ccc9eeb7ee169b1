"""Runs: their file format, the ranking that trec_eval sees in them, and their fusion."""
