"""From what the user holds to rows that a network can take: read, audit, split, preprocess, load."""
