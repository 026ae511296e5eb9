"""Strategies, one file a way of transferring; the file is the option."""
