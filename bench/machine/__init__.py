"""The machine that a result was measured on: facts, processes, energy, and its limits."""
