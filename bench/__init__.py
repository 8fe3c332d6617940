"""The measuring: which backend reaches the matching validation MSE first, on this machine, and how sure that is."""
