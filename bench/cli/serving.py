"""``factorbench predict``, ``recommend``, ``similar``, ``fold-in``, ``evaluate`` and ``info``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from backends import FactorModel
from bench.text.wording import plural

from .answers import (
    CommandError,
    add_output,
    add_ratings,
    answer,
    column_ids,
    columns_of,
    ids_of,
    load_model,
    read,
    read_table,
    titles_of,
    write_table,
)


def add_commands(commands: Any) -> None:
    """Add the commands to a parser."""
    _add_predict(commands)
    _add_recommend(commands)
    _add_similar(commands)
    _add_fold_in(commands)
    _add_evaluate(commands)
    info = _command(commands, "info", "say what a model is")
    info.set_defaults(run=run_info)


def _command(commands: Any, name: str, help_text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}."
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file of factorbench fit")
    add_output(parser)
    return parser


# ---- predict ------------------------------------------------------------------------------------


def _add_predict(commands: Any) -> None:
    parser = _command(commands, "predict", "predict ratings of pairs of users and items")
    parser.add_argument(
        "pairs",
        type=Path,
        nargs="?",
        metavar="PAIRS",
        help="CSV, TSV or Parquet with a column of users and one of items",
    )
    parser.add_argument("--user", metavar="ID", help="with --item, in place of PAIRS: one user")
    parser.add_argument("--item", metavar="ID", help="one item")
    parser.add_argument(
        "--pair-columns",
        metavar="USER,ITEM",
        help="names of the columns of PAIRS (default: user,item, or the first two)",
    )
    parser.add_argument(
        "--unknown",
        choices=("error", "mean"),
        default="error",
        help="ids that were not in training: an error, or the mean and the bias of what is known "
        "(default: error)",
    )
    parser.add_argument("--clip", action="store_true", help="clip to the range of the ratings")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="CSV, TSV or Parquet (default: CSV to standard output)",
    )
    parser.set_defaults(run=run_predict)


def run_predict(options: argparse.Namespace) -> int:
    """Predict ratings."""
    one = options.user is not None and options.item is not None
    if one == (options.pairs is not None):
        raise CommandError("give a file of PAIRS, or --user and --item")
    model = load_model(options.model)
    settings = {"unknown": options.unknown, "clip": options.clip}
    if one:
        users, items = ids_of(model, "user", [options.user]), ids_of(model, "item", [options.item])
        rating = float(model.predict(users, items, **settings)[0])
        facts = {"user": users[0], "item": items[0], "rating": rating}
        answer(options, facts, [f"{rating:.4f}"])
        return 0
    table = read_table(options.pairs)
    names = columns_of(
        options.pairs, table, options.pair_columns, ("user", "item"), "--pair-columns"
    )
    users = column_ids(model, "user", options.pairs, table[names[0]])
    items = column_ids(model, "item", options.pairs, table[names[1]])
    ratings = model.predict(users, items, **settings)
    result = pd.DataFrame({"user": users, "item": items, "rating": ratings})
    if options.json and options.output is None:
        answer(options, result.to_dict("records"), [])
        return 0
    write_table(result, options.output)
    if options.output is not None:
        facts = {"predictions": len(result), "file": str(options.output)}
        answer(options, facts, [f"{options.output}: {plural(len(result), 'prediction')}"])
    return 0


# ---- recommend ----------------------------------------------------------------------------------


def _add_recommend(commands: Any) -> None:
    parser = _command(commands, "recommend", "recommend items to one user, some, or all")
    parser.add_argument("--user", nargs="+", metavar="ID", help="whose lists")
    parser.add_argument("--all", action="store_true", help="lists of all users, to --output")
    parser.add_argument("-n", type=int, default=10, help="length of a list (default: 10)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="Parquet, for --all")
    parser.add_argument(
        "--include-seen", action="store_true", help="also list what a user has rated"
    )
    parser.add_argument(
        "--min-ratings",
        type=int,
        default=0,
        metavar="N",
        help="leave out items with fewer ratings (default: 0)",
    )
    parser.add_argument(
        "--popularity",
        type=float,
        metavar="WEIGHT",
        help="weight of popularity in the order; 0: by predicted rating (default: 0.25)",
    )
    _add_titles(parser)
    parser.add_argument("--threads", type=int, help="number of threads (default: all cores)")
    parser.set_defaults(run=run_recommend)


def _add_titles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--titles", type=Path, metavar="FILE", help="CSV, TSV or Parquet with ids and titles"
    )
    parser.add_argument(
        "--title-columns",
        metavar="ID,TITLE",
        help="names of its columns (default: the first, and name or title)",
    )


def run_recommend(options: argparse.Namespace) -> int:
    """Recommend items."""
    if bool(options.user) == options.all:
        raise CommandError("give --user ID, or --all with --output lists.parquet")
    if options.all and options.output is None:
        raise CommandError("--all needs a file for the lists: --output lists.parquet")
    if options.all and options.output.suffix.lower() not in (".parquet", ".pq"):
        raise CommandError(f"--all writes Parquet: name it lists.parquet, not {options.output}")
    if options.all and options.titles is not None:
        raise CommandError("--titles goes with --user; join them to the item column of the file")
    if options.threads is not None and options.threads < 1:
        raise CommandError(f"--threads must be at least 1, got {options.threads}")
    model = load_model(options.model)
    settings = {
        "n": options.n,
        "exclude_seen": not options.include_seen,
        "min_ratings": options.min_ratings,
        "n_jobs": options.threads,
    }
    if options.popularity is not None:
        settings["popularity"] = options.popularity
    if options.all:
        n_lines = model.write_lists(options.output, **settings)
        facts = {"users": model.n_users, "lines": n_lines, "file": str(options.output)}
        answer(
            options,
            facts,
            [f"{options.output}: lists of {model.n_users:,} users, {n_lines:,} lines"],
        )
        return 0
    titles = titles_of(model, options.titles, options.title_columns)
    frame = model.recommend(ids_of(model, "user", options.user), **settings).frame()
    if options.output is not None:
        write_table(_titled(frame, "item", titles), options.output)
        answer(
            options,
            {"lines": len(frame), "file": str(options.output)},
            [f"{options.output}: {plural(len(frame), 'line')}"],
        )
        return 0
    _show(options, _titled(frame, "item", titles), "rating")
    return 0


def _titled(frame: pd.DataFrame, column: str, titles: dict[Any, str]) -> pd.DataFrame:
    """Return a table with the titles of a column's items, where there are any."""
    if titles:
        frame = frame.assign(title=[titles.get(one, "") for one in frame[column].tolist()])
    return frame


def _show(options: argparse.Namespace, frame: pd.DataFrame, value: str) -> None:
    """Print lists: a table, or JSON."""
    shown = frame.assign(**{value: frame[value].map("{:.3f}".format)})
    lines = shown.to_string(index=False).splitlines() if len(frame) else ["nothing is left to list"]
    answer(options, frame.to_dict("records"), lines)


# ---- similar ------------------------------------------------------------------------------------


def _add_similar(commands: Any) -> None:
    parser = _command(commands, "similar", "find similar items, or similar users")
    parser.add_argument("--item", nargs="+", metavar="ID", help="items like which ones")
    parser.add_argument("--user", nargs="+", metavar="ID", help="users like whom")
    parser.add_argument("-n", type=int, default=10, help="length of a list (default: 10)")
    _add_titles(parser)
    parser.set_defaults(run=run_similar)


def run_similar(options: argparse.Namespace) -> int:
    """Find what is similar."""
    if bool(options.user) == bool(options.item):
        raise CommandError("give --item ID, or --user ID")
    model = load_model(options.model)
    if options.user:
        frame = model.similar_users(ids_of(model, "user", options.user), options.n).frame()
        _show(options, frame, "similarity")
        return 0
    titles = titles_of(model, options.titles, options.title_columns)
    frame = model.similar_items(ids_of(model, "item", options.item), options.n).frame()
    _show(options, _titled(frame, "similar_item", titles), "similarity")
    return 0


# ---- fold-in, evaluate, info --------------------------------------------------------------------


def _add_fold_in(commands: Any) -> None:
    parser = commands.add_parser(
        "fold-in",
        help="add new users, or items, to a model without a fit",
        description="Add users, or items, to a model by their ratings, without a fit.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file of factorbench fit")
    add_ratings(parser, "their ratings: a file (CSV, Parquet, ...)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MODEL", help="where the model goes"
    )
    parser.add_argument(
        "--side", choices=("user", "item"), default="user", help="what is new (default: user)"
    )
    parser.add_argument(
        "--unknown",
        choices=("error", "drop"),
        default="error",
        help="ratings of items (or by users) that are not in the model (default: error)",
    )
    add_output(parser)
    parser.set_defaults(run=run_fold_in)


def run_fold_in(options: argparse.Namespace) -> int:
    """Add users or items to a model."""
    model, ratings = load_model(options.model), read(options)
    try:
        folded = model.fold_in(ratings, side=options.side, unknown=options.unknown)
    except ValueError as error:
        if "partial_fit" not in str(error):
            raise
        raise CommandError(
            f"{options.ratings} has {options.side}s that the model has already; leave them out, "
            "or fit all ratings anew"
        ) from error
    folded.save(options.output)
    n_new = folded.n_users - model.n_users + folded.n_items - model.n_items
    facts = {"new": n_new, "users": folded.n_users, "items": folded.n_items}
    line = f"{options.output}: {plural(n_new, f'new {options.side}')}, "
    line += f"{folded.n_users:,} users and {folded.n_items:,} items in all"
    answer(options, {**facts, "model": str(options.output)}, [line])
    return 0


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="compare a model's predictions with ratings",
        description="Compare a model's predictions with ratings that it was not fitted to.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a file of factorbench fit")
    add_ratings(parser, "a file (CSV, Parquet, ...), or the name of a data set")
    add_output(parser)
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> int:
    """Compare predictions with ratings."""
    model, ratings = load_model(options.model), read(options)
    assert ratings.encoder is not None
    users = ratings.encoder.user_ids(ratings.users)
    items = ratings.encoder.item_ids(ratings.items)
    errors = model.predict(users, items, unknown="mean") - ratings.ratings
    known = _is_known(model, users, items)
    facts: dict[str, Any] = {"ratings": len(errors), "known_ratings": int(known.sum())}
    lines = [f"{options.ratings}: {len(errors):,} ratings"]
    for name, chosen in (("all", np.ones(len(errors), bool)), ("known", known)):
        if not chosen.any():
            continue
        rmse = float(np.sqrt(np.mean(errors[chosen] ** 2)))
        mae = float(np.mean(np.abs(errors[chosen])))
        facts[name] = {"rmse": rmse, "mae": mae}
        if name == "known" and known.all():
            continue
        what = "all" if name == "all" else f"{int(known.sum()):,} of known users and items"
        lines.append(f"{what}: RMSE {rmse:.4f}, MAE {mae:.4f}")
    answer(options, facts, lines)
    return 0


def _is_known(model: FactorModel, users: Any, items: Any) -> Any:
    """Return for each pair whether its user and its item were in training."""
    if model.encoder is None:
        return (users >= 0) & (users < model.n_users) & (items >= 0) & (items < model.n_items)
    return (model.encoder.user_rows(users) >= 0) & (model.encoder.item_rows(items) >= 0)


def run_info(options: argparse.Namespace) -> int:
    """Say what a model is."""
    model = load_model(options.model)
    rank = model.parameters.rank
    low, high = model.rating_range
    facts = {
        "users": model.n_users,
        "items": model.n_items,
        "rank": rank,
        "rating_range": [low, high],
        "rating_mean": model.rating_mean,
        "fit": model.fit,
    }
    lines = [
        f"{options.model}: {model.n_users:,} users, {model.n_items:,} items, rank {rank}",
        f"ratings from {low:g} to {high:g}, mean {model.rating_mean:.4g}",
        *(f"{name}: {value}" for name, value in model.fit.items()),
    ]
    answer(options, facts, lines)
    return 0
