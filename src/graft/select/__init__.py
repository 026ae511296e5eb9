"""Plan, try, judge: which candidates run, how they are run, and what the evidence says."""
