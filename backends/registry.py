"""The table of backends, and looking them up. A backend is imported when it is first used.

To add one, write its line in `_BACKENDS` (here), or an entry point in the group
``factorbench.backends`` (in another package).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ._validation import check_choice
from .errors import BackendUnavailable, UnknownBackend

if TYPE_CHECKING:
    import pandas as pd

    from .factorizer import Factorizer

_ENTRY_POINTS = "factorbench.backends"


class BackendInfo(NamedTuple):
    """What is known of a backend before it is imported."""

    target: str  # "module:class"
    algorithm: str
    requires: tuple[str, ...] = ()  # packages beyond numpy, scipy and pandas
    device: str = "cpu"
    # whether one seed gives one result on one machine, at least up to the rounding of sums
    deterministic: bool = True
    minimises: bool = True  # claims to end at a minimum of the objective, rather than to stop early
    steppable: bool = True
    same_as: str = ""  # the backend that a short name stands for
    work: str = ""  # what an epoch's work is counted as: the name of a work model of the roofline
    look: str = ""  # colour and marker in figures, such as "red s"; by default chosen by the name
    library: str = ""  # of an adapter: the distribution on PyPI that does the work
    extra: str = ""  # of this package, which installs what it requires; the package by default
    needs: str = ""  # what the library needs beside it, such as another version of Python
    # each ``optimizer`` that `get_backend` still accepts, and the backend's name that replaces it
    optimizers: tuple[tuple[str, str], ...] = ()


_ALS = "alternating least squares"
_GD = "momentum gradient descent"
_GD_WORK = "gradient descent"
_TORCH_GD = BackendInfo("backends.torch_gd:TorchGD", _GD, ("torch",), work=_GD_WORK)
_TORCH_ADAM = BackendInfo(
    "backends.torch_adam:TorchAdam",
    "mini-batch Adam",
    ("torch",),
    minimises=False,
    work="mini-batch Adam",
)


def _optimizers(name: str) -> tuple[tuple[str, str], ...]:
    """Return what ``optimizer`` stood for in a backend that has the faster one now."""
    return ("adam", name), ("gd", f"{name}-gd")


_TORCH_ALS = BackendInfo("backends.torch_als:TorchALS", _ALS, ("torch",), work=_ALS)

_NUMBA_SGD = BackendInfo(
    "backends.numba_sgd:NumbaSGD",
    "per-rating SGD, row-wise AdaGrad",
    ("numba",),
    minimises=False,
    work="per-rating SGD",
    look="red s",
)


def _peer(
    target: str,
    algorithm: str,
    package: str,
    library: str = "",
    others: tuple[str, ...] = (),
    **facts: Any,
) -> BackendInfo:
    """Return the row of an adapter to another library; ``package`` is what is imported."""
    return BackendInfo(
        f"backends.peers.{target}",
        algorithm,
        (package, *others),
        minimises=False,  # nobody else has this package's objective
        library=library or package,
        **facts,
    )


_CMFREC = partial(_peer, package="cmfrec", needs="a C compiler", steppable=False)

_BACKENDS: dict[str, BackendInfo] = {
    "cmfrec-als": _CMFREC("cmfrec:CmfrecALS", _ALS),
    "cmfrec-als-cg": _CMFREC("cmfrec:CmfrecALSCG", f"{_ALS}, conjugate gradients"),
    "cmfrec-lbfgs": _CMFREC("cmfrec:CmfrecLBFGS", "L-BFGS", deterministic=False),
    "cornac": _peer("cornac:Cornac", "per-rating SGD", "cornac", deterministic=False),
    "kernelmf": _peer(
        "kernelmf:KernelMF",
        "per-rating SGD",
        "matrix_factorization",
        "matrix-factorization",
        others=("numba",),
        extra="kernelmf",
    ),
    "lenskit-als": _peer(
        "lenskit:LenskitALS", _ALS, "lenskit", needs="Python 3.12.5 or newer", deterministic=False
    ),
    "libmf": _peer(
        "libmf:Libmf",
        "per-rating SGD, row-wise AdaGrad",
        "libmf",
        needs="a C++ compiler",
        steppable=False,
        deterministic=False,
    ),
    "libmf-raw": _peer(
        "libmf:LibmfRaw",
        "per-rating SGD, row-wise AdaGrad",
        "libmf",
        needs="a C++ compiler",
        steppable=False,
        deterministic=False,
    ),
    "myfm": _peer("myfm:MyFM", "Gibbs sampling", "myfm", steppable=False),
    "numba": _NUMBA_SGD._replace(same_as="numba-sgd"),
    "numba-als": BackendInfo(
        "backends.numba_als:NumbaALS",
        _ALS,
        ("numba",),
        work=_ALS,
        look="pink d",
    ),
    "numba-gd": BackendInfo(
        "backends.numba_gd:NumbaGD",
        _GD,
        ("numba",),
        work=_GD_WORK,
        look="orange ^",
    ),
    "numba-sgd": _NUMBA_SGD,
    "numpy": BackendInfo("backends.numpy_gd:NumpyGD", _GD, work=_GD_WORK, look="grey o"),
    "numpy-als": BackendInfo(
        "backends.numpy_als:NumpyALS",
        _ALS,
        look="grey D",
    ),
    "pytorch-slices": _peer("pytorch:PyTorchSlices", "mini-batch Adam", "torch"),
    "pytorch-tutorial": _peer("pytorch:PyTorchTutorial", "mini-batch Adam", "torch"),
    "smurff": _peer("smurff:Smurff", "Gibbs sampling", "smurff", deterministic=False),
    "spark": BackendInfo(
        "backends.spark.als:SparkALS",
        _ALS,
        ("pyspark", "numba", "pyarrow"),
        extra="spark",
        needs="Java 17 or newer",
    ),
    "spark-als": BackendInfo(
        "backends.spark.mllib:MLlibALS",
        _ALS,
        ("pyspark",),
        minimises=False,
        steppable=False,
        library="pyspark",
        extra="spark",
        needs="Java 17 or newer",
    ),
    "surprise-svd": _peer(
        "surprise:SurpriseSVD",
        "per-rating SGD",
        "surprise",
        "scikit-surprise",
        steppable=False,
    ),
    "torch-als": _TORCH_ALS._replace(look="blue d"),
    "torch-als-cuda": _TORCH_ALS._replace(device="cuda", deterministic=False, look="green d"),
    "torch-cpu": _TORCH_ADAM._replace(look="blue v", optimizers=_optimizers("torch-cpu")),
    "torch-cpu-gd": _TORCH_GD._replace(look="blue o"),
    "torch-cuda": _TORCH_ADAM._replace(
        device="cuda",
        deterministic=False,
        look="green P",
        optimizers=_optimizers("torch-cuda"),
    ),
    "torch-cuda-gd": _TORCH_GD._replace(device="cuda", deterministic=False, look="green o"),
    "torch-cuda-sgd": BackendInfo(
        "backends.torch_sgd:TorchSGD",
        "per-rating SGD, row-wise AdaGrad",
        ("torch", "triton"),
        device="cuda",
        deterministic=False,
        minimises=False,
        work="per-rating SGD in half precision",
        look="green s",
        needs="an NVIDIA GPU and Linux",
    ),
    "torch-mps": _TORCH_ADAM._replace(
        device="mps",
        deterministic=False,
        work="",  # nothing reports the size of the cache
        look="sky X",
        optimizers=_optimizers("torch-mps"),
    ),
    "torch-mps-gd": _TORCH_GD._replace(device="mps", deterministic=False, work="", look="sky o"),
}


def get_backend(name: str, *, preset: str | None = None, **params: Any) -> Factorizer:
    """Return a new solver by name.

    Parameters
    ----------
    name
        A name from `list_backends`.
    preset
        A named set of hyper-parameters of the backend, such as "article"; ``params`` override it.
    **params
        Hyper-parameters: rank, reg, dtype, n_jobs, ... and the backend's own. An ``optimizer`` of
        "gd" or "adam", which picked the solver of the torch backends, is accepted for a release:
        "torch-cpu" is Adam, and "torch-cpu-gd" gradient descent.

    Raises
    ------
    UnknownBackend
        With the closest name and the list of all.
    BackendUnavailable
        With what is missing and the command or fact that mends it.
    ValueError
        For a preset, a hyper-parameter or an optimizer that the backend does not have.

    Warns
    -----
    DeprecationWarning
        For an ``optimizer``.

    Examples
    --------
    >>> from backends import get_backend
    >>> get_backend("numpy", rank=8).rank
    8
    """
    info = backend_info(name)
    others, is_chosen = info.optimizers, False  # whether the user has chosen one of them
    if info.optimizers and "optimizer" in params:
        optimizer = params.pop("optimizer")
        names = dict(info.optimizers)
        if optimizer is not None:
            check_choice("optimizer", optimizer, tuple(names))
            warnings.warn(
                f'optimizer={optimizer!r} will be refused; write get_backend("{names[optimizer]}")',
                DeprecationWarning,
                stacklevel=2,
            )
            if names[optimizer] != name:
                params = _without_batch_size(params)
            name, is_chosen = names[optimizer], True
            info = backend_info(name)
    reason = unavailable_reason(info)
    if reason:
        raise BackendUnavailable(f"backend {name!r} is not available here: {reason}")
    factorizer = _import_backend(name, info)
    if preset not in (None, *factorizer.presets):
        # Such as "article", which names an algorithm too: of the backend's other optimizer.
        known_to = {
            known: other
            for _, other in others
            if other != name
            for known in _import_backend(other, backend_info(other)).presets
        }
        if preset in known_to and is_chosen:
            raise ValueError(
                f"backend {name!r} has no preset {preset!r}; write "
                f'get_backend("{known_to[preset]}", preset="{preset}")'
            )
        if preset in known_to:
            return get_backend(known_to[preset], preset=preset, **_without_batch_size(params))
        known = ", ".join(map(repr, dict.fromkeys([*factorizer.presets, *known_to]))) or "none"
        raise ValueError(f"backend {name!r} has no preset {preset!r}; it has {known}")
    solver = factorizer()
    if preset is not None:
        solver.set_params(**factorizer.presets[preset])
    if info.device != "cpu":
        solver.set_params(device=info.device)
    if "device" in params and str(params["device"]).partition(":")[0] != info.device:
        raise ValueError(
            f"device must be a {info.device} device for backend {name!r}, got {params['device']!r}",
        )
    solver.set_params(**params)
    solver.check_params()
    return solver


def _without_batch_size(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters without a ``batch_size`` of None, the default of two; one has it now."""
    return {name: value for name, value in params.items() if (name, value) != ("batch_size", None)}


def backend_class(name: str) -> type[Factorizer]:
    """Return a backend's class, also where the backend itself cannot run.

    Adapters to other libraries import theirs when a fit begins (but for PyTorch), so that their
    hyper-parameters and what they declare can be read without it.

    Raises
    ------
    UnknownBackend
        With the closest name and the list of all.
    BackendUnavailable
        If the class itself needs a package that is not installed.
    """
    info = backend_info(name)
    if not info.library:
        reason = unavailable_reason(info)
        if reason:
            raise BackendUnavailable(f"backend {name!r} is not available here: {reason}")
    return _import_backend(name, info)


def list_backends() -> pd.DataFrame:
    """Return a table of all backends, indexed by name.

    Columns: algorithm, device, steppable, deterministic, minimises (ends at a minimum of the
    objective, rather than stopping early), same_as (the backend that a short name stands for),
    library (of another project, which does the work; "" for this package's own), work (what its
    epochs are counted as, for the roofline), look (its colour and marker in figures), available,
    and reason: why not, and the command or fact that mends it ("" where it is
    available). Importing torch to ask for its devices can take seconds.
    """
    import pandas as pd

    columns = [
        "algorithm",
        "device",
        "steppable",
        "deterministic",
        "minimises",
        "same_as",
        "library",
        "work",
        "look",
    ]
    rows = {}
    for name, info in all_backends().items():
        reason = unavailable_reason(info)
        rows[name] = {column: getattr(info, column) for column in columns} | {
            "available": not reason,
            "reason": reason,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def all_backends() -> dict[str, BackendInfo]:
    """Return all backends by name; those of other packages never replace one of this package."""
    from importlib.metadata import entry_points  # costs as much as half of numpy

    backends = {}
    for point in entry_points(group=_ENTRY_POINTS):
        backends[point.name] = BackendInfo(point.value, "third party")
    return dict(sorted((backends | _BACKENDS).items()))


def backend_info(name: str) -> BackendInfo:
    """Return the entry of a backend.

    Raises
    ------
    UnknownBackend
        With the closest name and the list of all.
    """
    if name in _BACKENDS:
        return _BACKENDS[name]
    known = all_backends()
    if name in known:
        return known[name]
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UnknownBackend(f"no backend is named {name!r}{hint} Known: {', '.join(known)}")


def unavailable_reason(info: BackendInfo) -> str:
    """Return in a line why a backend cannot run here, and the remedy; "" if it can run."""
    for package in info.requires:
        if importlib.util.find_spec(package) is None:
            remedy = f"pip install 'factorbench[{info.extra or package}]'"
            needs = f" (it needs {info.needs})" if info.needs else ""
            return f"the package {package} is not installed; run: {remedy}{needs}"
    if "numba" in info.requires and _numba_interprets():
        remedy = "unset it, and start Python again"
        return f"NUMBA_DISABLE_JIT is set, and the kernels only run compiled; {remedy}"
    if "pyspark" in info.requires:
        from backends.spark.session import java_missing, spark_version_problem

        problem = spark_version_problem() or java_missing()
        if problem:
            return problem
    if info.device in ("cuda", "mps"):
        try:
            import torch
        except (ImportError, OSError) as error:
            return f"the package torch is installed but does not import ({error}); install it again"
    if info.device == "cuda":
        if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
            return (
                f"this build of torch ({torch.__version__}) has no CUDA; "
                "on a machine with an NVIDIA GPU install a CUDA build, "
                "see https://pytorch.org/get-started/locally"
            )
        if not torch.cuda.is_available():
            return "torch finds no CUDA device; check the GPU and its driver with: nvidia-smi"
    if info.device == "mps" and not torch.backends.mps.is_available():
        return "torch finds no MPS device; it needs an Apple-silicon Mac with macOS 12.3 or later"
    return ""


def _numba_interprets() -> bool:
    """Return whether NUMBA_DISABLE_JIT is set; numba takes what is not an integer as 0."""
    try:
        return bool(int(os.environ.get("NUMBA_DISABLE_JIT", "0")))
    except ValueError:
        return False


def _import_backend(name: str, info: BackendInfo) -> type[Factorizer]:
    module, _, attribute = info.target.partition(":")
    try:
        factorizer: type[Factorizer] = getattr(importlib.import_module(module), attribute)
    except (ImportError, OSError, AttributeError) as error:
        raise BackendUnavailable(
            f"backend {name!r} is not available here: {info.target} does not import ({error}); "
            "install its package again"
        ) from error
    return factorizer
