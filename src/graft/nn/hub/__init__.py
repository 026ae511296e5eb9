"""Checkpoints as transformers and sentence-transformers save them, for texts, images and sounds."""
