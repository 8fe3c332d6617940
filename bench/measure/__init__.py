"""How a backend is measured on a case.

`measurement` is the runner and goes through all steps. It asks the workers by way of `session`
(requests as methods), `worker_process` (the process from outside), `protocol` (the messages) and
`worker` (the process itself, which owns the clock). `calibration`, `extras` and `fair_play` are
steps of a measurement; `run_folder` and `fingerprint` decide which records of an interrupted run
can be reused.
"""
