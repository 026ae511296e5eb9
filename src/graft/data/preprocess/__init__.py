"""Preprocessing, one file a kind of input: from raw rows to batches."""
