"""How well, how surely, and was it worth it: metrics, intervals, paired tests, the verdict."""
