"""The fields of a record, and what they mean.

Names of fields do not change, because stored records have them. That is why the targets are called
the ``rungs`` of a ``ladder`` here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

# 2: records have a kind; records of version 1 are all times to the MSE.
# 3: several seeds, rounds to every target, the parts of a round's time, cold starts, the memory of
#    a fit, and a key of hashes of what a record depends on.
# 4: energy of a round.
# 5: unit of reg, dampings, a reg of the biases' own; dampings of a baseline.
# 6: records in progress; the time of each seed.
# 7: cold starts with each seed, lists with the first only; what was watched.
# 8: checks of a GPU; how sums over ratings were computed.
# Older records can be read: `store` converts them.
SCHEMA = 8

# Over budget: more threads than allowed. Inconsistent: the times of its fits contradict each other.
Failure = Literal[
    "diverged",
    "crashed",
    "timed out",
    "out of memory",
    "over budget",
    "inconsistent",
    "unavailable",
]
# In progress: some seeds are measured, and the run goes on or was cut off.
Status = Literal["matched", "missed", "in progress", Failure]
BoundName = Literal["memory", "arithmetic", "dependency chain"]
# Integers up to 2^53 are read exactly by every JSON reader, also where all numbers are doubles.
Integer = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
Nonnegative = Annotated[float, Meta(ge=0)]
# Of a fit: no clock resolves less than a nanosecond, and nobody waits for decades. Within these
# bounds, quotients of times and the exponentials of their intervals are finite.
FitSeconds = Annotated[float, Meta(ge=1e-9, le=1e9)]


class Backend(TypedDict):
    """The backend that was measured."""

    name: str  # as shown; in a duel of a backend with itself, with the settings that differ
    params: dict[str, Any]  # hyper-parameters that the user set
    algorithm: str
    device: str
    dtype: str
    threads: Positive
    deterministic: bool
    minimises: bool  # whether it minimises the objective, so that its gap to the reference is shown
    look: NotRequired[str]  # colour and marker from the registry; absent if it has none


class Library(TypedDict):
    """The library that an adapter calls, and what the adapter declares of it, in words."""

    name: str  # of the distribution on PyPI
    version: str
    licence: str
    minimises: str
    biases: str
    start: str
    seed: str
    stepping: str
    threads: str
    precision: str


class CaseFacts(TypedDict):
    """The case: data, split, and the objective, with the names of `backends.Objective`."""

    name: Annotated[str, Meta(max_length=255)]  # part of the name of a file
    dataset: str
    split: str
    seed: Integer
    rank: Positive
    reg: Nonnegative
    reg_scaling: str
    bias: bool
    reg_unit: str  # "rating" in records before version 5
    damping: Nonnegative  # 0 before version 5, like the other two dampings
    bias_reg: Nonnegative  # same as reg before version 5
    user_bias_damping: Nonnegative
    item_bias_damping: Nonnegative
    n_users: Count
    n_items: Count
    n_train: Count
    n_validation: Count
    n_test: Count
    dropped: str  # rows that were left out, in words
    data_hash: str
    reading: NotRequired[str]  # how the user's file was said to be read; "" for nothing said


class Score(TypedDict):
    """Mean squared errors of a baseline, and the parameters tuned on the validation ratings."""

    validation_mse: Nonnegative
    test_mse: Nonnegative | None
    # None if it was not tuned. Before version 5 the reg of all biases was, since then the dampings.
    reg: float | None
    user_damping: float | None
    item_damping: float | None
    note: str  # a remark on the tuning; "" for none


class ListMetrics(TypedDict):
    """Metrics of lists of ten items, means over users; `bench.cases.lists` defines them."""

    threshold: float  # from this rating on, a held-out item is relevant
    users: Count  # that were evaluated
    precision: float
    recall: float
    ndcg: float
    coverage: float  # share of all items that are on some list
    rare: float  # share of the listed items that have at most three training ratings


class Reference(TypedDict):
    """Float64 ALS at convergence: medians over several seeds, and the spread of the seeds."""

    validation_mse: Nonnegative
    test_mse: Nonnegative | None
    objective: Nonnegative
    spread: Nonnegative  # largest minus smallest validation MSE of the seeds
    seeds: Count
    note: NotRequired[str]  # a remark on how it was found; "" for none


class Target(TypedDict):
    """A validation MSE to reach, as a multiple of the reference's."""

    factor: float
    mse: Nonnegative
    dropped: str  # why it cannot be a target on this data; "" if it can


class TracePoint(TypedDict):
    """The validation MSE after an epoch of the calibration."""

    epoch: Count
    seconds: Nonnegative  # of training up to here, without evaluation
    validation_mse: Nonnegative


class TargetReached(TypedDict):
    """How many epochs a target took."""

    factor: float  # of the target
    epochs: Count | None  # None if it was not reached


class Calibration(TypedDict):
    """An untimed fit that determines how many epochs the timed rounds of a seed run."""

    seed: Integer
    created: NotRequired[str]  # when it ended; absent before version 6
    epochs: Count | None  # to the target; None if it was not reached
    added: NotRequired[Positive]  # part of these epochs, because timed rounds of fewer missed it
    missed: NotRequired[Positive]  # so many did; they are dropped
    repeats: Count  # number of fits; this is the slowest
    evaluation_seconds: Nonnegative | None  # median seconds of one evaluation; in no other result
    trace: list[TracePoint]
    rungs: list[TargetReached]


class Round(TypedDict):
    """One timed fit of a fixed number of epochs, without evaluation; scored afterwards.

    ``seconds`` is the sum of preparing, the first epoch, the other epochs, and a rest (checks,
    copying the model).
    """

    # With the order "interleaved", the rounds of a number ran in one block, in random order.
    round: Count
    seed: Integer
    factor: float  # of the target
    seconds: FitSeconds
    prepare_seconds: Nonnegative
    first_epoch_seconds: Nonnegative | None
    epoch_seconds: Nonnegative | None  # median over the other epochs; None if there are none
    # Of all threads of the process and of its child processes. A child that ended without being
    # waited for is missing.
    cpu_seconds: float | None
    # CPU-seconds of everything else on the machine during the round. The system counts in steps of
    # 0.01 s, so in a short round this can be negative; only sums over rounds mean anything.
    others_seconds: float | None
    stolen_seconds: float | None  # CPU-seconds that the hypervisor took
    # Used during the round by the processor's packages and the GPU, by other programs as well.
    energy_joules: float | None
    validation_mse: Nonnegative
    test_mse: Nonnegative | None
    objective: Nonnegative | None
    matched: bool


class Cold(TypedDict):
    """The first fit in a fresh process."""

    seed: Integer  # before version 7 there were starts of the first seed only
    caches: Literal["empty", "filled"]  # of compiled kernels
    import_seconds: float  # of the backend, without NumPy and this package
    compile_seconds: float  # a first fit of a few ratings, minus a second one
    prepare_seconds: float  # part of fit_seconds
    fit_seconds: float  # preparing, epochs, copying the model
    total_seconds: FitSeconds  # import, compilation and fit


class Memory(TypedDict):
    """Memory and threads of a separate fit; None where they cannot be read."""

    peak_mb: float | None  # peak of the resident memory, including libraries and ratings
    fit_mb: float | None  # the peak minus the resident memory when the fit began
    device_mb: float | None  # peak of the memory allocated on the device
    running_threads: float | None  # running or waiting for a core; 75th percentile of the samples


class MachineFacts(TypedDict):
    """Facts that do not change during a run; None for those that cannot be read."""

    cpu: str | None
    cores: Count | None  # cores that a process may use
    cpu_limit: float | None  # the control group's limit on CPU time, in cores
    caches: str | None  # of the first core
    governor: str | None
    frequency_driver: str | None
    no_turbo: str | None
    hypervisor: str | None
    gpus: str | None
    memory_gb: float | None
    system: str | None
    python: str | None
    packages: dict[str, str] | None  # versions of the installed packages that matter
    git: str | None  # commit of this project's code; None outside a checkout
    settings: dict[str, str] | None  # environment variables that change how numerical libraries run


class ProcessFacts(TypedDict):
    """Facts about a worker process."""

    variables: dict[str, str] | None  # that change how numerical libraries run
    thread_pools: list[dict[str, Any]] | None  # of the BLAS and OpenMP libraries it has loaded
    load_average: float | None


TUNED = " (tuned)"  # follows the name of a backend that was measured with tuned hyper-parameters


class Tuning(TypedDict):
    """How the hyper-parameters of a backend were searched for, and what the search found."""

    # Fits with different hyper-parameters. The first has the case's reg and damping, and the
    # backend's defaults.
    trials: Positive
    seconds: float  # that all trials took, with starting processes and compiling
    most_seconds: float  # of training in a trial
    split: str  # the ratings that the trials were fitted to and scored on, in words
    score: str  # what the trials were compared by, in words
    default: float | None  # score of the first trial; None if it has none
    best: float | None  # score of the best trial
    best_trial: Positive  # counted from 1
    params: dict[str, Any]  # hyper-parameters of the best trial; empty for the first


class Environment(MachineFacts, ProcessFacts):
    """The machine and process of a measurement.

    All fields are present. One is None if an older release did not record it, or no worker started.
    """

    import_seconds: float | None
    compile_seconds: float | None
    device: str | None
    throttled: Integer | None  # how often the processor was throttled during the measurement
    # "all", or what the system does not show of a worker and the machine, in words: "all but ...".
    watched: str | None


class Record(TypedDict):
    """The time to the matching MSE of one backend on one case."""

    schema: Count
    kind: Literal["time to MSE"]
    run: str
    created: str
    command: str
    order: Literal["sequential", "interleaved"]  # of the rounds of several backends
    key: dict[str, str]  # hashes of all that the results depend on, see `measure.fingerprint`
    status: Status
    reason: str  # one line; "" when matched
    # Seconds of training after which it was given up: the target takes longer than this.
    gave_up_after: float | None
    backend: Backend
    case: CaseFacts
    reference: Reference
    baselines: dict[str, Score]
    list_baselines: NotRequired[dict[str, ListMetrics]]  # of lists without a model, by name
    ladder: list[Target]
    target: Target | None  # the matching target; None if it had to be dropped
    # Of the fits; the data and its split have a seed of their own.
    seeds: Annotated[list[Integer], Meta(min_length=1)]
    calibrations: list[Calibration]  # one per seed
    rounds: list[Round]  # to the matching target
    rungs: list[Round]  # to the other targets of the ladder
    # Of the first round; before version 7, of the first round of each seed.
    lists: NotRequired[list[ListMetrics]]
    # How sums over ratings were computed, of several ways that the backend has; absent for others.
    products: NotRequired[str]
    tuning: NotRequired[Tuning]  # absent if the backend was not tuned
    library: NotRequired[Library]  # absent for this project's own solvers, and if none was started
    cold: list[Cold]  # for each seed, one with empty and one with filled caches
    memory: Memory | None
    environment: Environment


class ChainLatency(TypedDict):
    """Nanoseconds between two updates of one row: dot product, error, update."""

    rank: Positive
    ns: float


class MachineLimits(TypedDict):
    """The most that the machine achieves with a number of threads, which all run at once.

    Those of a device do not depend on the host's threads, and have no chains.
    """

    threads: Positive
    memory_gb_per_s: float  # 1e9 bytes read
    gflop_per_s: float  # float32; a multiply-add counts as two
    chain: list[ChainLatency]  # of a single thread; the others are totals


class EpochCost(TypedDict):
    """The cost of an epoch, and the machine's limits for it; nanoseconds are per rating."""

    rank: Positive
    threads: Positive
    epochs: Count  # how many the medians are taken over
    seconds: float  # of an epoch
    cpu_seconds: float  # of an epoch, of all threads together; 0 on a device, or if not counted
    ns: float
    cpu_ns: float
    flops: float  # per rating, by the work model
    bytes: float  # per rating to and from memory, by the work model
    memory_ns: float
    arithmetic_ns: float
    chain_ns: float | None  # None for an algorithm without a dependency chain
    bound: BoundName  # the limit that applies
    limit_ns: float  # its time
    share: float  # limit_ns / ns
    cpu_share: float  # limit_ns * threads / cpu_ns: the share while the threads had a core


class RooflineRecord(TypedDict):
    """The cost of a backend's epochs on a case's data at several ranks and numbers of threads.

    The rank of the case itself is not used.
    """

    schema: Count
    kind: Literal["roofline"]
    run: str
    created: str
    command: str
    key: dict[str, str]  # as in a `Record`
    status: Literal["measured", Failure]
    reason: str  # one line; "" when measured
    backend: Backend
    case: CaseFacts
    work_model: str
    assumptions: list[str]  # of the work model, in sentences
    cache_mb: float  # size of the last-level cache that the work model assumes
    limits: list[MachineLimits]
    costs: list[EpochCost]
    products: NotRequired[str]  # as in a `Record`
    environment: Environment


class CheckTiming(TypedDict):
    """A time that a check of a GPU took for something, the median of several."""

    what: str
    n: Positive  # ratings
    seconds: FitSeconds
    bytes: Count  # of rows and ratings that it reads and writes; 0 if they were not counted


class CheckComparison(TypedDict):
    """A number that a check of a GPU found, such as a difference from the CPU."""

    what: str
    value: float | None  # None if it is not finite, which is wrong
    limit: float  # more is wrong


class CheckFit(TypedDict):
    """A fit on a GPU to the matching target, on synthetic ratings."""

    backend: str
    look: str  # as in a `Backend`; "" if it has none
    n: Positive  # training ratings
    rank: Positive
    target: Nonnegative  # 1.01 times the validation MSE of ALS on the same device
    validation_mse: Nonnegative | None  # at the end; None if it is not finite
    epochs: Count
    prepare_seconds: Nonnegative  # copying the ratings to the device and ordering them there
    seconds: FitSeconds  # of preparing and all epochs, without evaluation
    reached: bool


class GPUCheck(TypedDict):
    """What a check of a GPU found: results against those of the CPU, times, fits to the target."""

    schema: Count
    kind: Literal["GPU check"]
    run: str
    created: str
    command: str
    # Right: all that was to run is. Crashed: its numbers are no record.
    status: Literal["right", "wrong", "cut off", "crashed"]
    reason: str  # one line; "" when right
    device: str  # as torch calls it
    smoke: bool  # a test of the check itself, on the CPU
    cache_mb: Nonnegative  # of the device's last-level cache; 0 if it was not measured
    limits: list[MachineLimits]  # of the device, for the host's threads
    comparisons: list[CheckComparison]
    fits: list[CheckFit]
    timings: list[CheckTiming]
    skipped: list[str]
    wrong: list[str]
    environment: Environment


Measured = Record | RooflineRecord  # of a backend on a case
AnyRecord = Measured | GPUCheck
