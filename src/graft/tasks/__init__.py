"""Tasks, one file a kind; the file is the option."""
