"""What runs are worth: comparisons, tests of significance, curves, and tables for people."""
