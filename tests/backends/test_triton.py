"""The kernels in Triton, interpreted on the CPU, against NumPy; and compiled for a GPU."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from helpers import ROOT

pytest.importorskip("torch")
pytest.importorskip("triton")

pytestmark = pytest.mark.process

# Triton reads TRITON_INTERPRET when it is imported, so what is interpreted has its own process.
START = """
import json, sys
import numpy as np
from tests.helpers import random_ratings, relative_differences
from backends import Ratings, get_backend
from backends._engine import fused_products
train = random_ratings(n=150)
weights = np.random.default_rng(3).uniform(0.1, 4.0, len(train))
shape = train.n_users + 1, train.n_items + 1
weighted = Ratings(train.users, train.items, train.ratings, *shape, weights=weights)
"""


def run(code: str, *, interpreted: bool) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment |= {"TRITON_INTERPRET": "1"} if interpreted else {}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPATH": path},
        check=False,
        timeout=600,
    )


def printed(done: subprocess.CompletedProcess[str]) -> Any:
    """Return what a process printed last, as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def interpreted(code: str) -> Any:
    """Run code with the interpreter; return what it printed last, as JSON."""
    return printed(run(START + code, interpreted=True))


@pytest.mark.parametrize("rank", [4, 5])  # read as one block and a further one, or as one
def test_the_fused_gradient_follows_numpy(rank: int) -> None:
    """With rows cut into segments, with weights, and with a user and an item without ratings."""
    differences = interpreted(
        f"""
fused_products.SEGMENT = 3
found = []
for ratings in (train, weighted):
    options = dict(rank={rank}, dtype="float64", n_jobs=1, init_scale=0.5)
    fits = [
        get_backend(name, **own, **options).fit(ratings, epochs=2).model_.parameters
        for name, own in (("torch-cpu-gd", dict(products="fused")), ("numpy", dict()))
    ]
    found.append(max(relative_differences(*fits).values()))
print(json.dumps(found))
"""
    )
    assert max(differences) <= 1e-9


def test_a_step_of_sgd_is_that_of_its_definition() -> None:
    """One program visits all ratings one after the other, as `plain_step` does."""
    differences = interpreted(
        """
from backends import per_rating, torch_sgd
from backends.kernels.sgd import Row, Shares, plain_step
per_rating._LEAST_PER_PROGRAM = 1000
found = []
for ratings in (train, weighted):
    solver = torch_sgd.TorchSGD(rank=5, dtype="float64", n_jobs=1, init_scale=0.5)
    state = solver.prepare(ratings, solver.initial_parameters(ratings, seed=0), seed=0)
    rows = [
        Row(f.copy(), *c[:3].tolist())
        for f, c in zip(state.factors.numpy(), state.columns.numpy())
    ]
    shares = [Shares(*s) for s in state.shares.numpy().tolist()]
    own, squared_error = state.ratings, 0.0
    weight_of = np.ones(len(ratings)) if own.weights is None else own.weights.numpy()
    for u, i, target, weight in zip(
        own.users.tolist(), own.items.tolist(), own.targets.tolist(), weight_of
    ):
        rows[u], rows[i], square = plain_step(
            rows[u], rows[i], shares[u], shares[i], target, weight, (*solver.rule, 1.0)
        )
        squared_error += square
    mse = solver.step(state, 1)
    found.append(abs(mse / (squared_error * state.unit**2 / len(ratings)) - 1))
    found.append(np.abs(state.factors.numpy() - [row.factors for row in rows]).max())
    found.append(np.abs(state.columns.numpy()[:, :3] - [row[1:] for row in rows]).max())
print(json.dumps([float(each) for each in found]))
"""
    )
    assert max(differences) <= 1e-9


def test_sgd_learns_in_half_precision_and_without_biases() -> None:
    """The training MSE falls; without biases they stay 0."""
    falls, bias = interpreted(
        """
from backends.torch_sgd import TorchSGD
found = []
for options in (dict(), dict(bias=False), dict(precision="full")):
    fit = TorchSGD(rank=4, n_jobs=1, reg=0.001, **options).fit(train, epochs=12, evaluate=True)
    found.append(fit.history_[-1].train_mse / fit.history_[0].train_mse)
    if not options.get("bias", True):
        bias = float(np.abs(fit.model_.parameters.user_bias).max())
print(json.dumps([found, bias]))
"""
    )
    assert max(falls) < 0.9
    assert bias == 0.0


def test_without_the_interpreter_a_cpu_is_refused() -> None:
    code = (
        "from tests.helpers import random_ratings; from backends import get_backend; "
        "get_backend('torch-cpu-gd', products='fused').fit(random_ratings())"
    )
    done = run(code, interpreted=False)
    assert "Triton has no compiler for CPUs" in done.stderr


COMPILE = """
import json
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from backends.kernels.triton.gradient import row_sums, segment_sums
from backends.kernels.triton.sgd import sgd

def compiled(kernel, pointers, numbers, constants, warps):
    signature = {name: "*" + kind for name, kind in pointers.items()}
    signature |= numbers | {name: "constexpr" for name in constants}
    signature = {name: signature[name] for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    options = {"num_warps": warps}
    found = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    if kernel is sgd:  # rows that others write are not read from a cache that does not see it
        assert found.asm["ptx"].count("ld.global.cg") >= 8
    return len(found.asm["cubin"])

sizes = []
shapes = (24, 16, 8, 64, 1), (72, 64, 8, 16, 1), (136, 128, 8, 16, 4), (16, 16, 0, 64, 1)
for width, main, tail, block, warps in shapes:
    for weighted in (False, True):
        kinds = dict(rows="fp32", opposites="fp32", segment_rows="i32", starts="i64", ends="i64")
        kinds |= dict(others="i32", targets="fp32", weights="fp32", sums="fp32")
        kinds |= dict(squared_errors="fp32")
        constants = dict(WIDTH=width, MAIN=main, TAIL=tail, BLOCK=block, WEIGHTED=weighted)
        sizes.append(compiled(segment_sums, kinds, {}, constants, warps))
    kinds = dict(sums="fp32", row_segments="i64", out="fp32", scale="fp32")
    constants = dict(WIDTH=width, PADDED=1 << (width - 1).bit_length())
    sizes.append(compiled(row_sums, kinds, {}, constants, 1))
for factors in ("fp16", "fp32"):
    for weighted in (False, True):
        kinds = dict(factors=factors, columns="fp32", shares="fp32", users="i32", items="i32")
        kinds |= dict(targets="fp32", weights="fp32", squared_errors="fp32", rule="fp32")
        numbers = dict(n="i32", per_program="i32")
        constants = dict(RANK=128, PADDED=128, WEIGHTED=weighted)
        sizes.append(compiled(sgd, kinds, numbers, constants, 1))
print(json.dumps(sizes))
"""


def test_the_kernels_compile_for_a_gpu_without_one() -> None:
    """For sm_90, the H100's and H200's."""
    sizes = printed(run(COMPILE, interpreted=False))
    assert len(sizes) == 16 and min(sizes) > 1000
