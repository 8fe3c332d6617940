"""Jitted kernels: arrays in, arrays out. They know nothing of ratings, models or fitting."""
