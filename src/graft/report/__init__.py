"""Values → something to look at; computes nothing of its own."""
