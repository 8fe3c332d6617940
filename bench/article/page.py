"""The page: one HTML file and the files beside it, made of the results.

Its text is in ``article.html``.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.records import Environment
from bench.report.figures import inline_svg
from bench.report.figures.style import THEME
from bench.report.page.html import template_environment
from bench.text.files import write_all
from bench.text.wording import mse, number, plural

from .figure import draw
from .picture import Picture
from .results import PUBLISHED, Results
from .tables import comparison, curve_table, objective_table, scores_table, seconds_table

# The article counts as reproduced if the curve is this close to the published one at all its
# points, as a share of the error.
_REPRODUCED = 0.05

# It runs on the Kaggle file as it is; a test takes it from the page and runs it.
SNIPPET = """\
import pandas as pd

from backends import Ratings, get_backend
from bench.cases import baselines

table = pd.read_csv("rating.csv")  # user_id, anime_id, rating
rated = table[table["rating"] != -1].sample(frac=1, random_state=0)
cut = int(0.8 * len(rated))
train = Ratings.from_frame(rated[:cut], user="user_id", item="anime_id", duplicates="last")
new = rated[cut:]
validation = train.encoder.encode_new(new["user_id"], new["anime_id"], new["rating"])

print(baselines(train, validation.ratings, None))  # what a model must beat
solver = get_backend("{backend}", rank={rank}, epochs={epochs})
solver.fit(train, validation.ratings, keep="last")
print(solver.history_[-1].validation_mse, "with", validation.n_dropped, "rows dropped")
print(solver.recommend(rated["user_id"].iloc[0], n=5))
"""

# The same where biases alone predict better.
BIASES_SNIPPET = """\
import pandas as pd

from backends import Ratings, damped_biases

table = pd.read_csv("rating.csv")  # user_id, anime_id, rating
rated = table[table["rating"] != -1]
train = Ratings.from_frame(rated, user="user_id", item="anime_id", duplicates="last")

b, c = damped_biases(train, user_damping={user_damping:g}, item_damping={item_damping:g})
users = train.encoder.user_rows(rated["user_id"].to_numpy())
items = train.encoder.item_rows(rated["anime_id"].to_numpy())
print(train.summary.mean + b[users] + c[items])  # one prediction per row
"""


def write_page(results: Results, output: Path, command: str, seconds: float) -> Path:
    """Write page, figure and ``results.json`` into a folder, and return the path of the page.

    Each file is written completely or not at all.

    Parameters
    ----------
    output
        An existing folder.
    command
        The command to show for repeating the run.
    seconds
        Duration of the whole run.
    """
    made = {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
    }
    picture = draw(results, PUBLISHED)
    stored = {**made, **results, "published": PUBLISHED, "comparison": comparison(results)}
    contents = {
        "article.svg": picture.svg,
        "article.png": picture.png,
        "results.json": (json.dumps(stored, indent=1, allow_nan=False) + "\n").encode(),
        "index.html": render(results, picture, made).encode(),
    }
    write_all(output, contents)
    return output / "index.html"


def render(results: Results, picture: Picture, made: dict[str, Any]) -> str:
    """Return the page: one file that loads nothing, with all text escaped."""
    environment = template_environment("bench.article")
    environment.filters |= {"mse": mse, "number": number}
    template = environment.get_template("article.html")
    last = results["curve"][-1]
    # The largest relative distance from the published curve, None if no iteration is in both.
    farthest = max((abs(row["relative"]) for row in comparison(results)), default=None)
    like_the_article = math.isclose(
        results["data"]["n_ratings"], PUBLISHED["ratings"], rel_tol=0.01
    )
    ends_like_the_article = str(last["iteration"]) in PUBLISHED["train_mse"]
    is_close = farthest is not None and farthest < _REPRODUCED
    ours, biases = results["ours"], results["biases"]
    factors_help = ours["validation_mse"] < biases["validation_mse"]
    code = SNIPPET.format(**ours["solver"]) if factors_help else BIASES_SNIPPET.format(**biases)
    page = template.render(
        r=results,
        last=last,
        published=PUBLISHED,
        like_the_article=like_the_article,
        farthest=farthest,
        reproduced=like_the_article and ends_like_the_article and is_close,
        tables={
            "curve": curve_table(results),
            "scores": scores_table(results),
            "objective": objective_table(results),
            "seconds": seconds_table(results),
        },
        picture=picture,
        drawing=inline_svg(picture.svg, picture.stem, picture.alt),
        factors_help=factors_help,
        code=code,
        environment=_environment(results["environment"]),
        made=made,
        theme=THEME,
    )
    return page + "\n"


def _environment(facts: Environment) -> list[tuple[str, str]]:
    """Return names and values of what is known of the machine."""
    cores = plural(facts["cores"], "core") if facts["cores"] else None
    rows = {
        "Processor": ", ".join(filter(None, [facts["cpu"], cores])),
        "System": facts["system"],
        "Python": facts["python"],
        "Packages": ", ".join(
            f"{name} {version}" for name, version in (facts["packages"] or {}).items()
        ),
        "Load at the end": facts["load_average"],
        "Code": facts["git"],
    }
    return [(name, str(fact)) for name, fact in rows.items() if fact not in (None, "")]
