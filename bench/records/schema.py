"""The fields of a record, and what they mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

# 2: records have a kind; those of version 1 are all of the first kind.
# 3: several seeds, every rung timed, the clock split, cold starts, the fit's memory, the key that says what a record
#    depends on.
# 4: joules of a round.
# 5: the unit of reg, dampings, the biases' own reg; a baseline's dampings.
# Older records are read: `store` brings them up to date.
SCHEMA = 5

# Over budget: more threads than allowed. Inconsistent: what its fits take contradicts itself.
Failure = Literal["diverged", "crashed", "timed out", "out of memory", "over budget", "inconsistent", "unavailable"]
Status = Literal["matched", "missed", Failure]
BoundName = Literal["memory", "arithmetic", "dependency chain"]
# Every reader of JSON takes an integer up to 2^53 for what it is; those of records are counts.
Count = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class Backend(TypedDict):
    """Who ran."""

    name: str  # as shown; where a run has one backend twice, with what tells them apart
    params: dict[str, Any]  # hyper-parameters that were set by hand
    algorithm: str
    device: str
    dtype: str
    threads: Count
    deterministic: bool
    minimises: bool  # claims to minimise the objective, so its gap to the reference is shown
    look: NotRequired[str]  # colour and marker of its registry row; absent in older records, and where there is none


class CaseFacts(TypedDict):
    """What was run: data, split, and the objective by the names of `backends.Objective`."""

    name: str
    dataset: str
    split: str
    seed: Count
    rank: Count
    reg: float
    reg_scaling: str
    bias: bool
    reg_unit: str  # "rating" in records before version 5
    damping: float  # 0 in these, as the other two
    bias_reg: float  # reg in these
    user_bias_damping: float
    item_bias_damping: float
    n_users: Count
    n_items: Count
    n_train: Count
    n_validation: Count
    n_test: Count
    dropped: str  # rows of validation and test that could not be encoded, in words
    data_hash: str


class Score(TypedDict):
    """Mean squared errors of a baseline, and what was tuned for it on the validation ratings."""

    validation_mse: float
    test_mse: float | None
    # None for what was not tuned: reg of all biases was before version 5, the dampings are since.
    reg: float | None
    user_damping: float | None
    item_damping: float | None
    note: str  # what to know of the tuning, in words; "" for nothing


class Reference(TypedDict):
    """Float64 ALS at convergence, over several seeds: the median, and how far the seeds lie apart."""

    validation_mse: float
    test_mse: float | None
    objective: float
    spread: float  # largest minus smallest validation MSE over the seeds
    seeds: Count


class Target(TypedDict):
    """One target of the ladder: reference x factor; ``dropped`` says why it is no target here, "" if it is one."""

    factor: float
    mse: float
    dropped: str


class TracePoint(TypedDict):
    """Calibration: validation MSE after an epoch; seconds are training only."""

    epoch: Count
    seconds: float
    validation_mse: float


class TargetReached(TypedDict):
    """The first epoch at or under a rung, None if there was none."""

    factor: float
    epochs: Count | None


class Calibration(TypedDict):
    """The untimed fit that fixes the number of epochs of one seed."""

    seed: Count
    epochs: Count | None  # to the target; None if it was not reached
    repeats: Count
    evaluation_seconds: float | None  # median cost of scoring the validation set once; in no other figure
    trace: list[TracePoint]
    rungs: list[TargetReached]


class Round(TypedDict):
    """One timed fit: prepare and a fixed number of epochs, nothing evaluated inside; scored afterwards.

    The parts add up: ``seconds`` is prepare, first epoch, the other epochs, and the rest (checks, the model's copy).
    """

    round: Count  # those of one number were run in one block, in random order, where the order is "interleaved"
    seed: Count
    factor: float  # the rung, as a factor of the reference
    seconds: float
    prepare_seconds: float
    first_epoch_seconds: float | None
    epoch_seconds: float | None  # median of the epochs after the first; None where there is none
    # Of all threads of the process and of those that it started; a child that ended without being waited for is lost.
    cpu_seconds: float | None
    # CPU-seconds that everything else on the machine took meanwhile; the system counts in steps of 0.01 s, so that it
    # may be less than 0 in a short round, and only sums of rounds mean anything.
    others_seconds: float | None
    stolen_seconds: float | None  # CPU-seconds that the hypervisor took
    energy_joules: float | None  # that the processor's packages and the GPU spent meanwhile, on whatever
    validation_mse: float
    test_mse: float | None
    objective: float | None
    matched: bool


class Cold(TypedDict):
    """A fit in a fresh process, where everything is done for the first time; the parts add up to the total."""

    caches: Literal["empty", "filled"]  # of compiled kernels
    import_seconds: float  # of the backend, beyond NumPy and this package
    compile_seconds: float  # a first fit on few ratings, less a second one
    prepare_seconds: float
    fit_seconds: float  # prepare, epochs, the model's copy
    total_seconds: float


class Memory(TypedDict):
    """What a fit of its own took, watched from outside; None where it cannot be read."""

    peak_mb: float | None  # most that the process had resident, libraries and ratings included
    fit_mb: float | None  # of that, over what it had resident when the fit began
    device_mb: float | None  # most allocated on the device
    running_threads: float | None  # that ran or waited for a core, 90th percentile of the samples


class MachineFacts(TypedDict):
    """What does not change while a run lasts; None for what cannot be read on this machine."""

    cpu: str | None
    cores: Count | None  # that a process may use
    cpu_limit: float | None  # cores' worth of time that a control group allows
    caches: str | None  # of the first core
    governor: str | None
    frequency_driver: str | None
    no_turbo: str | None
    hypervisor: str | None
    gpus: str | None
    memory_gb: float | None
    system: str | None
    python: str | None
    packages: dict[str, str] | None  # versions of those that are installed
    git: str | None  # commit of the code that ran; None outside a checkout
    settings: dict[str, str] | None  # variables that change how numerical libraries run, and so make another machine


class ProcessFacts(TypedDict):
    """What belongs to one process: its variables, and the thread pools of the libraries that it has loaded."""

    variables: dict[str, str] | None
    thread_pools: list[dict[str, Any]] | None
    load_average: float | None


class Environment(MachineFacts, ProcessFacts):
    """What a record was measured on. All fields are there; None where a release, or a failed start, did not tell."""

    import_seconds: float | None
    compile_seconds: float | None
    device: str | None
    throttled: Count | None  # how often the processor was throttled meanwhile


class Record(TypedDict):
    """One measured case: a backend on a case."""

    schema: Count
    kind: Literal["time to MSE"]
    run: str
    created: str
    command: str
    order: Literal["sequential", "interleaved"]  # of the rounds of several backends
    key: dict[str, str]  # what the figures depend on, by name: while it is the same, a record can be re-used
    status: Status
    reason: str  # one line in words, "" when matched
    gave_up_after: float | None  # seconds of training without reaching the target: the time to it is longer
    backend: Backend
    case: CaseFacts
    reference: Reference
    baselines: dict[str, Score]
    ladder: list[Target]
    target: Target | None  # the matching rung; None where it had to be dropped
    seeds: list[Count]  # of the start and of whatever the solver draws; the case has its own
    calibrations: list[Calibration]  # one per seed
    rounds: list[Round]  # to the target
    rungs: list[Round]  # to the other rungs of the ladder
    cold: list[Cold]
    memory: Memory | None
    environment: Environment


class ChainLatency(TypedDict):
    """Nanoseconds from one rating of a row to the next: dot product, error, update of the row."""

    rank: Count
    ns: float


class MachineLimits(TypedDict):
    """What the machine does at best with so many threads: all of them together, but for the chain."""

    threads: Count
    memory_gb_per_s: float  # 1e9 bytes read
    gflop_per_s: float  # float32; a multiply-add counts as two
    chain: list[ChainLatency]  # of each thread, while all run


class EpochCost(TypedDict):
    """What an epoch costs at one rank on so many threads, and what the machine's limits allow; ns are per rating."""

    rank: Count
    threads: Count
    epochs: Count  # that the medians are of
    seconds: float  # of an epoch, by the clock
    cpu_seconds: float  # of an epoch, of all threads together
    ns: float
    cpu_ns: float
    flops: float  # per rating, by the work model
    bytes: float  # per rating to and from memory, by the work model
    memory_ns: float
    arithmetic_ns: float
    chain_ns: float | None  # None for an algorithm without the chain
    bound: BoundName
    limit_ns: float  # of the bound
    share: float  # limit_ns / ns
    cpu_share: float  # limit_ns x threads / cpu_ns: the same while the threads ran


class RooflineRecord(TypedDict):
    """The cost of a backend's epochs on a case's data, over ranks and threads; the case's own rank plays no part."""

    schema: Count
    kind: Literal["roofline"]
    run: str
    created: str
    command: str
    key: dict[str, str]  # as in a `Record`
    status: Literal["measured", Failure]
    reason: str  # one line in words, "" when measured
    backend: Backend
    case: CaseFacts
    work_model: str
    assumptions: list[str]  # of the work model, a sentence each
    cache_mb: float  # the last-level cache that the work model reckons with
    limits: list[MachineLimits]
    costs: list[EpochCost]
    environment: Environment


AnyRecord = Record | RooflineRecord
