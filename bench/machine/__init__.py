"""What results were measured on: environment, processes, energy, and the machine's limits."""
