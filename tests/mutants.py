"""``python tests/mutants.py [--only NAME]``: do the tests notice faults in the code?

Each mutant is a small fault. The script puts it into a copy of the source tree, never into the tree
itself, and runs the tests that must fail because of it. If they pass, the mutant has survived: a
test is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 300  # that the tests of a mutant may take

_COPIED = ("backends", "bench", "tests", "pyproject.toml")
_FAILED = 1  # pytest's exit status where tests failed; others say that none ran


class Mutant(NamedTuple):
    """A fault: ``text``, which occurs once in the file, becomes ``fault``; a test must fail."""

    name: str
    file: str
    text: str
    fault: str
    tests: tuple[str, ...]
    why: str


_WORKER, _EXTRAS = "bench/measure/worker.py", "bench/measure/extras.py"
_EPOCH_SEARCH = "bench/measure/epoch_search.py"
_MEASUREMENT, _FAIR_PLAY = "bench/measure/measurement.py", "bench/measure/fair_play.py"
_TARGETS, _OBJECTIVE = "bench/cases/targets.py", "backends/objective.py"
_START, _STOPPING = "backends/start.py", "backends/stopping.py"
_SPLITS, _READING = "bench/datasets/splits.py", "bench/datasets/reading"
_TEST_WORKER, _TEST_EXTRAS = "tests/measure/test_worker.py", "tests/measure/test_extras.py"
_TEST_FAIR_PLAY = "tests/measure/test_fair_play.py"
_TURNS, _TEST_TURNS = "bench/measure/turns.py", "tests/measure/test_turns.py"
_TEST_TARGETS = "tests/cases/test_targets.py"
_TEST_OBJECTIVE = "tests/backends/test_objective.py"
_TEST_FACTORIZER = "tests/backends/test_factorizer.py"
_TEST_RUN_FOLDER = "tests/measure/test_run_folder.py"
_TEST_SPLITS, _TEST_BAD_ROWS = "tests/datasets/test_splits.py", "tests/datasets/test_bad_rows.py"
_TEST_READERS, _TEST_CATALOG = "tests/datasets/test_readers.py", "tests/datasets/test_catalog.py"

MUTANTS = (
    # ---- measuring -------------------------------------------------------------------------------
    Mutant(
        "objective doubled",
        _WORKER,
        "objective = solver.objective.value(",
        "objective = 2 * solver.objective.value(",
        (f"{_TEST_WORKER}::test_a_round_says_what_its_model_is_worth",),
        "J of a record is that of its model",
    ),
    Mutant(
        "another seed",
        _WORKER,
        "Factorizer.initial_parameters(solver, copy(train), seed)",
        "Factorizer.initial_parameters(solver, copy(train), seed + 1)",
        (f"{_TEST_WORKER}::test_a_round_says_what_its_model_is_worth",),
        "a timed fit starts where its calibration did",
    ),
    Mutant(
        "scored on training",
        _WORKER,
        "score = mean_squared_error(parameters, validation)",
        "score = mean_squared_error(parameters, train)",
        (f"{_TEST_WORKER}::test_a_round_says_what_its_model_is_worth",),
        "rounds are scored on validation ratings",
    ),
    Mutant(
        "every round matches",
        _WORKER,
        "matched=request.target is not None and meets(score, request.target)",
        "matched=True",
        (f"{_TEST_WORKER}::test_a_round_matches_at_the_target_and_not_below",),
        "a round that missed is no match",
    ),
    Mutant(
        "last epoch at the target",
        _EPOCH_SEARCH,
        "if self.reached is None and meets(score, self.target):",
        "if meets(score, self.target):",
        (f"{_TEST_WORKER}::test_the_first_epoch_at_a_target_counts",),
        "a calibration counts the first epoch at the target",
    ),
    Mutant(
        "last epoch at a tighter target",
        _EPOCH_SEARCH,
        "        return min(epochs, default=None)",
        "        return max(epochs, default=None)",
        (f"{_TEST_WORKER}::test_the_first_epoch_at_a_target_counts",),
        "and so it does for every other target",
    ),
    Mutant(
        "fits that start again stop at the first success",
        _EPOCH_SEARCH,
        "            self.close_in()\n",
        "            pass\n",
        (f"{_TEST_WORKER}::test_more_and_more_epochs_then_the_fewest_to_a_twentieth",),
        "a library that cannot go on training is not charged epochs that it does not need",
    ),
    Mutant(
        "fits that start again are not looked for beside the best",
        _EPOCH_SEARCH,
        "            self.look_beside_best()\n",
        "            pass\n",
        (f"{_TEST_WORKER}::test_a_target_that_only_some_epochs_reach_is_found",),
        "a library that overfits may be at the target between two numbers of epochs",
    ),
    Mutant(
        "fits that start again have no limit each",
        _EPOCH_SEARCH,
        "            epochs = min(request.max_epochs, longer, most)\n",
        "            epochs = min(request.max_epochs, longer)\n",
        (f"{_TEST_WORKER}::test_no_fit_is_longer_than_allowed",),
        "a fit that takes too long ends the worker, and all that was found is lost",
    ),
    Mutant(
        "an epoch may take for ever",
        "bench/measure/session.py",
        "        silence = limits.max_seconds + _GRACE\n",
        "        silence = 1e9\n",
        ("tests/measure/test_planted.py::test_an_epoch_may_not_take_longer_than_all",),
        "a backend whose first epoch does not end is given up",
    ),
    Mutant(
        "a library gets our objective",
        "bench/measure/session.py",
        "        if contender.row.library:\n",
        "        if False:\n",
        ("tests/measure/test_measurement.py::test_a_library_is_not_asked_for_our_objective",),
        "its reg has another unit, and it has no dampings",
    ),
    Mutant(
        "calibration gives up late",
        _EPOCH_SEARCH,
        "return epoch - self._best_epoch >= self.patience",
        "return epoch - self._best_epoch > self.patience",
        (f"{_TEST_WORKER}::test_patience_counts_the_epochs_without_a_new_best",),
        "patience is a number of epochs, not one more",
    ),
    Mutant(
        "tighter target given up early",
        _EPOCH_SEARCH,
        "epoch < 2 * self.reached + 2",
        "epoch < self.reached + 2",
        (
            f"{_TEST_WORKER}::test_a_tighter_target_is_tried_for_twice_the_epochs_and_while_it_is_in_reach",
        ),
        "the tightest target gets twice the epochs of the target",
    ),
    Mutant(
        "unseen ratings that are not new",
        _WORKER,
        "ratings = stretch * (train.ratings.min() + train.ratings.max() - train.ratings)",
        "ratings = train.ratings",
        (f"{_TEST_WORKER}::test_unseen_ratings_are_the_same_problem_with_other_contents",),
        "whoever keeps results by their sum must not have them",
    ),
    Mutant(
        "unseen ratings drawn by a seed",
        _WORKER,
        "np.random.default_rng()",
        "np.random.default_rng(0)",
        (f"{_TEST_WORKER}::test_unseen_ratings_are_the_same_problem_with_other_contents",),
        "each fit has ratings that no other had",
    ),
    Mutant(
        "unseen ratings never fitted",
        _WORKER,
        "self.ratings_of(request.ratings)",
        'self.ratings_of("known")',
        (f"{_TEST_WORKER}::test_unseen_ratings_are_fitted_only_where_asked_for",),
        "a backend that keeps results is found by ratings that are new",
    ),
    Mutant(
        "ratings shared by fits",
        _WORKER,
        "        return Ratings(train.users, train.items, train.ratings, "
        "train.n_users, train.n_items)\n\n    def ratings_of",
        "        return train\n\n    def ratings_of",
        (f"{_TEST_WORKER}::test_a_fit_gets_ratings_of_its_own",),
        "what ratings keep of themselves is computed inside the clock",
    ),
    Mutant(
        "caches not emptied",
        _EXTRAS,
        "    shutil.rmtree(caches, ignore_errors=True)\n    caches.mkdir(parents=True)",
        "    caches.mkdir(parents=True, exist_ok=True)",
        (f"{_TEST_EXTRAS}::test_caches_are_empty_and_then_filled",),
        "a cold start compiles all that it needs",
    ),
    Mutant(
        "caches filled, then empty",
        _MEASUREMENT,
        'for state in ("empty", "filled"):',
        'for state in ("filled", "empty"):',
        (f"{_TEST_EXTRAS}::test_caches_are_empty_and_then_filled",),
        "the two cold starts are told apart",
    ),
    Mutant(
        "unseen fits held against rounds alone",
        _EXTRAS,
        "if slower(unseen, known) and",
        "if slower(unseen, rounds) and",
        (f"{_TEST_EXTRAS}::test_slow_fits_of_unseen_ratings_are_held_against_known_ones_in_turns",),
        "a machine that became busy makes no backend a cheat",
    ),
    Mutant(
        "slower by the slowest fit",
        _FAIR_PLAY,
        'fastest = min(fit["seconds"] for fit in fits)',
        'fastest = max(fit["seconds"] for fit in fits)',
        (_TEST_FAIR_PLAY,),
        "one slow fit is noise",
    ),
    Mutant(
        "budget of one core for all",
        _FAIR_PLAY,
        "cpu_seconds <= CPU_SLACK * budget * seconds",
        "cpu_seconds <= CPU_SLACK * seconds",
        (_TEST_FAIR_PLAY,),
        "two threads may use two cores",
    ),
    Mutant(
        "threads that stay are not seen",
        _FAIR_PLAY,
        "if left < len(counts) - 1:",
        "if left <= len(counts) - 1:",
        (_TEST_FAIR_PLAY,),
        "a thread left behind by each fit but the first is one too many",
    ),
    Mutant(
        "fastest calibration counts",
        "bench/measure/calibration.py",
        "slowest = max(attempts",
        "slowest = min(attempts",
        ("tests/measure/test_calibration.py",),
        "of several calibrations the slowest counts",
    ),
    Mutant(
        "what is scored is no copy",
        _WORKER,
        "arrays = {name: np.array(getattr(parameters, name)) for name in shapes}",
        "arrays = {name: np.asarray(getattr(parameters, name)) for name in shapes}",
        (f"{_TEST_WORKER}::test_what_is_scored_is_a_copy_of_the_model_when_the_clock_stops",),
        "what a thread writes into the model later is of no use",
    ),
    Mutant(
        "a copy after the clock",
        _WORKER,
        "            parameters = _copy_of(solver.model_.parameters, train)\n"
        "        seconds = perf_counter() - start",
        "            pass\n        seconds = perf_counter() - start\n"
        "        parameters = _copy_of(solver.model_.parameters, train)",
        (f"{_TEST_WORKER}::test_what_is_scored_is_a_copy_of_the_model_when_the_clock_stops",),
        "what a model computes later is of no use",
    ),
    Mutant(
        "validation rows keep their numbers",
        _WORKER,
        "train, validation = _relabelled(train, *rows), _relabelled(validation, *rows)",
        "train, validation = _relabelled(train, *rows), validation",
        (f"{_TEST_WORKER}::test_relabelled_ratings_are_the_same_with_other_row_numbers",),
        "an honest fit of relabelled rows ends where it did",
    ),
    Mutant(
        "held against the best start alone",
        _EXTRAS,
        "> _WORSE * max(map(_score, known))",
        "> _WORSE * min(map(_score, known))",
        (f"{_TEST_EXTRAS}::test_an_unlucky_seed_is_held_against_known_rows_from_other_starts",),
        "starts differ, of known rows as of others",
    ),
    Mutant(
        "done with a record missing",
        "bench/measure/run_folder.py",
        "        if not self.missing:",
        "        if True:",
        (f"{_TEST_RUN_FOLDER}::test_a_run_is_done_when_all_that_is_planned_is_final",),
        "a run with a record missing is not done",
    ),
    Mutant(
        "in progress is done",
        "bench/measure/run_folder.py",
        """        if record["status"] != "in progress":
            self.missing.discard(path.name)""",
        "        self.missing.discard(path.name)",
        (f"{_TEST_RUN_FOLDER}::test_a_run_is_done_when_all_that_is_planned_is_final",),
        "nor is one with a record in progress",
    ),
    Mutant(
        "seeds of one record alone",
        _TURNS,
        "shared = set.intersection(*done)",
        "shared = set.union(*done)",
        (
            f"{_TEST_TURNS}::test_a_run_that_is_cut_off_between_two_records_takes_over_what_all_have",
        ),
        "what is compared was measured in turns",
    ),
    Mutant(
        "late and in turns",
        _TURNS,
        'measurement.order = "sequential"',
        "pass",
        (f"{_TEST_TURNS}::test_what_is_measured_after_the_others_has_not_taken_turns",),
        "what was measured later is not compared block by block",
    ),
    Mutant(
        "missed rounds forgiven",
        _MEASUREMENT,
        'for timed in self.rounds if not timed["matched"]]',
        'for timed in self.rounds[:1] if not timed["matched"]]',
        (f"{_TEST_EXTRAS}::test_each_seed_is_timed_with_its_own_epochs",),
        "all rounds must match, not the first alone",
    ),
    Mutant(
        "record kept though its key changed",
        "bench/measure/run_folder.py",
        "        if changed:",
        "        if len(changed) == len(key):",
        (
            f"{_TEST_RUN_FOLDER}::test_records_are_kept_only_where_their_key_is_what_it_would_be_now",
        ),
        "nothing is kept after what it depends on changed",
    ),
    Mutant(
        "blocks in one order",
        _TURNS,
        "rng.permutation(len(measurements))",
        "range(len(measurements))",
        (f"{_TEST_TURNS}::test_every_block_has_each_backend_once_in_an_order_drawn_by_the_seed",),
        "nobody always goes first",
    ),
    Mutant(
        "order of blocks without a seed",
        _TURNS,
        "np.random.default_rng([seed, fit_seed])",
        "np.random.default_rng()",
        (f"{_TEST_TURNS}::test_every_block_has_each_backend_once_in_an_order_drawn_by_the_seed",),
        "a run can be repeated",
    ),
    # ---- the gate --------------------------------------------------------------------------------
    Mutant(
        "target is out of reach",
        _TARGETS,
        "return score <= target",
        "return score < target",
        (f"{_TEST_TARGETS}::test_a_score_at_the_target_meets_it",),
        "a score at the target meets it",
    ),
    Mutant(
        "matching at five per cent",
        _TARGETS,
        "MATCHING = 1.01",
        "MATCHING = 1.05",
        (f"{_TEST_TARGETS}::test_the_matching_target_is_one_percent",),
        "to match is to be within one per cent",
    ),
    Mutant(
        "loosest target matches",
        _TARGETS,
        "return min(candidates,",
        "return max(candidates,",
        (f"{_TEST_TARGETS}::test_the_matching_target_is_one_percent",),
        "the tightest target that is not dropped is the matching one",
    ),
    Mutant(
        "targets above the biases",
        _TARGETS,
        "if target >= without_factors:",
        "if best >= without_factors:",
        (f"{_TEST_TARGETS}::test_targets_that_biases_reach_are_dropped",),
        "a target that biases reach needs no factors",
    ),
    Mutant(
        "targets inside the spread",
        _TARGETS,
        "elif target - best < spread:",
        "elif target < spread:",
        (
            f"{_TEST_TARGETS}::test_targets_inside_the_spread_are_dropped_and_the_looser_one_matches",
        ),
        "a target that a seed decides is none",
    ),
    Mutant(
        "unseen validation rows not counted",
        "bench/cases/encode.py",
        "if encoded.n_dropped:",
        'if encoded.n_dropped and name != "validation":',
        ("tests/cases/test_encode.py",),
        "what is left out is said",
    ),
    # ---- the objective ---------------------------------------------------------------------------
    Mutant(
        "damping left out",
        _OBJECTIVE,
        "self.reg * unit * (n + self.damping)",
        "self.reg * unit * n",
        (f"{_TEST_OBJECTIVE}::test_value_is_that_of_a_plain_loop",),
        "rare rows are shrunk the most",
    ),
    Mutant(
        "unit left out",
        _OBJECTIVE,
        "self.reg * unit * (n + self.damping)",
        "self.reg * (n + self.damping)",
        (f"{_TEST_OBJECTIVE}::test_value_is_that_of_a_plain_loop",),
        "reg is a pure number",
    ),
    Mutant(
        "items without bias_reg",
        _OBJECTIVE,
        'self.row_penalties("item", item_weights, total, unit),',
        'self.row_penalties("item", item_weights, total, unit)._replace(\n'
        "            biases=np.where(item_weights > 0, self.item_bias_damping, 0.0)\n"
        "        ),",
        (f"{_TEST_OBJECTIVE}::test_value_is_that_of_a_plain_loop",),
        "both sides' biases are regularised",
    ),
    Mutant(
        "weights left out of the MSE",
        _OBJECTIVE,
        "np.average(squares, weights=ratings.weights)",
        "np.average(squares)",
        (f"{_TEST_OBJECTIVE}::test_value_is_that_of_a_plain_loop",),
        "a rating of weight two counts twice",
    ),
    Mutant(
        "weights left out of the gradient",
        _OBJECTIVE,
        "errors *= ratings.weights",
        "pass",
        (f"{_TEST_OBJECTIVE}::test_weight_two_is_the_row_twice",),
        "and so it does in the gradient",
    ),
    Mutant(
        "penalty of the items' factors left out of the gradient",
        _OBJECTIVE,
        "matrix.T @ at.user_factors + item_penalty",
        "matrix.T @ at.user_factors",
        (f"{_TEST_OBJECTIVE}::test_gradient_is_that_of_autograd",),
        "the gradient is that of the whole objective",
    ),
    Mutant(
        "one stream for users and items",
        _START,
        "np.random.SeedSequence(seed).spawn(len(parts))",
        "[np.random.SeedSequence(seed)] * len(parts)",
        (_TEST_OBJECTIVE,),
        "factors of users and items are drawn apart",
    ),
    Mutant(
        "start in the square of its unit",
        _START,
        "math.sqrt(root_mean_square(ratings, mean))",
        "root_mean_square(ratings, mean)",
        (f"{_TEST_OBJECTIVE}::test_normal_start_has_its_scale_as_deviation",),
        "a fit starts alike on any scale",
    ),
    Mutant(
        "fit gives up late",
        _STOPPING,
        "record.epoch - self.best_epoch >= self.patience",
        "record.epoch - self.best_epoch > self.patience",
        (f"{_TEST_FACTORIZER}::test_patience_counts_epochs_without_a_better_one",),
        "patience is a number of epochs, not one more",
    ),
    Mutant(
        "fit goes on at its target",
        _STOPPING,
        "record.validation_mse <= self.target_mse",
        "record.validation_mse < self.target_mse",
        (f"{_TEST_FACTORIZER}::test_a_score_at_the_target_ends_a_fit",),
        "a score at the target meets it",
    ),
    # ---- readers and splits ----------------------------------------------------------------------
    Mutant(
        "line number off by one",
        f"{_READING}/blocks.py",
        "return self.first_line + n_line_ends(self.data[:offset])",
        "return self.first_line + 1 + n_line_ends(self.data[:offset])",
        (f"{_TEST_BAD_ROWS}::test_bad_rows_are_named_by_line_or_dropped_and_counted",),
        "the line named is the line",
    ),
    Mutant(
        "lines of earlier blocks forgotten",
        f"{_READING}/blocks.py",
        "            line += n_line_ends(data)",
        "            line += 1",
        (f"{_TEST_BAD_ROWS}::test_bad_rows_are_named_by_line_or_dropped_and_counted",),
        "the line named is the line, in every block",
    ),
    Mutant(
        "line ends of Windows count twice",
        f"{_READING}/blocks.py",
        ' - data.count(b"\\r\\n")',
        "",
        (f"{_TEST_BAD_ROWS}::test_bad_rows_are_named_by_line_or_dropped_and_counted",),
        "the line named is the line, whatever ends it",
    ),
    Mutant(
        "infinite ratings",
        f"{_READING}/values.py",
        "finite = np.isfinite(ratings)",
        "finite = ~np.isnan(ratings)",
        (f"{_TEST_BAD_ROWS}::test_bad_rows_are_named_by_line_or_dropped_and_counted",),
        "a rating is a finite number",
    ),
    Mutant(
        "leading zeros lost",
        f"{_READING}/ids.py",
        'pc.all(pc.equal(column.filter(led), "0"))',
        "pc.all(pc.is_valid(column.filter(led)))",
        (f"{_TEST_READERS}::test_ids",),
        "007 and 7 are two users",
    ),
    Mutant(
        "missing ratings kept",
        f"{_READING}/text.py",
        "keep = part.ratings != sentinel",
        "keep = np.isfinite(part.ratings)",
        (f"{_TEST_READERS}::test_missing_rating_sentinel",),
        "-1 may mean not rated",
    ),
    Mutant(
        "NULL is an id",
        f"{_READING}/text.py",
        'null_values=["", *missing]',
        'null_values=[""]',
        ("tests/datasets/test_kinds_of_files.py::test_refused",),
        "an unquoted NULL is a missing id",
    ),
    Mutant(
        "an index is a user",
        f"{_READING}/doubt.py",
        "if columns[n].counts and columns[n].is_numeric and not is_one_user:",
        "if columns[n].counts and columns[n].is_date and not is_one_user:",
        ("tests/datasets/test_kinds_of_files.py::test_refused",),
        "a column that counts the rows is in doubt",
    ),
    Mutant(
        "zeros are ratings",
        f"{_READING}/values.py",
        "n_low > _SUSPECT_RATIO * n_next",
        "n_low > n",
        ("tests/datasets/test_kinds_of_files.py::test_refused",),
        "a frequent 0 may stand for no rating",
    ),
    Mutant(
        "swallowed lines are not missed",
        f"{_READING}/bad_rows.py",
        "    if n_lines == n_records:",
        "    if n_lines >= n_records:",
        (
            "tests/datasets/test_kinds_of_files.py::"
            "test_an_open_quote_is_noticed_whatever_quotes_are_before_it",
        ),
        "an open quote swallows rows",
    ),
    Mutant(
        "first duplicate kept",
        "bench/datasets/raw.py",
        'keep="last"',
        'keep="first"',
        (f"{_TEST_CATALOG}::test_without_duplicates_keeps_the_order",),
        "the later rating of a pair counts",
    ),
    Mutant(
        "validation and test exchanged",
        _SPLITS,
        "    train, validation, test = (\n",
        "    train, test, validation = (\n",
        (_TEST_SPLITS,),
        "the newest rows are the test part",
    ),
    Mutant(
        "oldest rows tested",
        _SPLITS,
        'split = _cut(np.argsort(times, kind="stable"),',
        'split = _cut(np.argsort(times, kind="stable")[::-1],',
        (f"{_TEST_SPLITS}::test_time_orders_the_parts",),
        "no model is trained on the future",
    ),
    Mutant(
        "users left without training rows",
        _SPLITS,
        "is_split = np.repeat(counts > 2 * k, counts)",
        "is_split = np.repeat(counts >= 2 * k, counts)",
        (f"{_TEST_SPLITS}::test_users_with_few_rows_stay_in_training_and_are_counted",),
        "every user keeps a row to train on",
    ),
)


def main(words: Sequence[str] | None = None, mutants: Sequence[Mutant] = MUTANTS) -> int:
    """Try mutants and print a table; return 1 if one survived, or could not be tried."""
    names = [mutant.name for mutant in mutants]
    parser = argparse.ArgumentParser(prog="python tests/mutants.py", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="repeatable")
    asked = parser.parse_args(words).only or names
    chosen = [mutant for mutant in mutants if mutant.name in asked]
    width = max(len(mutant.name) for mutant in chosen)
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of_the_tree(Path(folder))
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        if (status := run(tests, tree)) != 0:
            print(f"the tests do not pass as they are: pytest ended with {status}")
            return 1
        verdicts = []
        for mutant in chosen:
            verdicts.append(verdict(mutant, tree))
            line = f"{mutant.name:{width}}  {verdicts[-1]:9}  {mutant.file}: {mutant.why}"
            print(line, flush=True)
    killed = verdicts.count("killed")
    print(f"{killed} of {len(chosen)} mutants were killed")
    return int(killed < len(chosen))


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what tests need; return the copy."""
    tree = folder / "tree"
    tree.mkdir()
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    return tree


def verdict(mutant: Mutant, tree: Path) -> str:
    """Put a fault into the copy of the tree, run its tests and undo it; return the verdict."""
    path = tree / mutant.file
    before = path.read_text("utf-8")
    if before.count(mutant.text) != 1:
        return "outdated"  # its text no longer occurs exactly once
    path.write_text(before.replace(mutant.text, mutant.fault), "utf-8")
    try:
        status = run(mutant.tests, tree)
    finally:
        path.write_text(before, "utf-8")
    return {_FAILED: "killed", 0: "survived", None: "timed out"}.get(status, f"status {status}")


def run(tests: Iterable[str], tree: Path) -> int | None:
    """Run tests until one fails; return pytest's exit status, None after a time-out."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # No byte code is kept: a file that is changed twice within a second looks as it did before.
    places = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tree)}
    with (tree / "output.txt").open("wb") as output:
        try:
            done = subprocess.run(
                words,
                cwd=tree,
                env=os.environ | places,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return None
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
