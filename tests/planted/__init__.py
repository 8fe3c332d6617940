"""Backends with a planted fault, registered by an entry point that the tests put on the path."""
