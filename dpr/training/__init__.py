"""Training a dual encoder with in-batch negatives."""
