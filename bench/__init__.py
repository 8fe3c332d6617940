"""The benchmark: which backend reaches the target validation MSE first on this machine."""
