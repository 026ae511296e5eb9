"""Functions on modules and tensors: freezing, matching weights, parameter groups, heads."""
