"""Readers, one file a kind of data; the file is the option."""
