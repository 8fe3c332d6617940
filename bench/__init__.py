"""The benchmark: which backend reaches the target validation MSE first on this machine."""

import os
import sys
from importlib.util import find_spec


def _check_backends() -> None:
    """Raise ImportError if ``backends`` is not the package beside this one.

    ``python -m`` looks in the working folder first, where something of the user's may have that
    name.
    """
    ours = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "backends")
    found = find_spec("backends")
    if found is None or found.origin is None:  # not installed
        return
    folder, file = os.path.split(found.origin)
    if os.path.realpath(folder) != ours:
        theirs = folder if found.submodule_search_locations else os.path.join(folder, file)
        # With this name, `python -m` prints one line without a traceback.
        raise ImportError(
            f"the benchmark needs {ours}, but Python finds {theirs} first: rename that, start from "
            "another folder, or let Python leave out this one with -P, as in python -P -m bench",
            name=__name__,
        )


if sys.argv[:1] == ["-m"]:  # Python is looking for the module that it is to run
    from bench.text.missing import explain_missing

    explain_missing()
_check_backends()
