"""How a backend is measured on a case: the worker, its process, calibration, rounds, and the run's folder."""
