"""Scores: a file is an option, and its name is the option's name."""
