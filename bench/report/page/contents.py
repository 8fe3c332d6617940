"""The contents of a report as data, from which HTML and Markdown are rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from bench.records import AnyRecord, GPUCheck, Measured, RooflineRecord, by_kind
from bench.report.figures import Look, styles
from bench.report.outcome.cases import Case, group_cases
from bench.report.outcome.description import about, snippet
from bench.report.outcome.method import METHOD
from bench.report.outcome.plan import NO_PLAN, Plan
from bench.report.outcome.rooflines import group_rooflines
from bench.report.outcome.uses import Use
from bench.report.outcome.verdict import (
    Answer,
    answer,
    answers,
    cautions,
    left_out,
    missing_in_all,
    origin,
    unavailable,
    verdict,
)
from bench.report.tables.facts import case_facts, environment_tables
from bench.report.tables.gpu_check import GPUSection, make_gpu_section
from bench.report.tables.measured import measured_tables
from bench.report.tables.parts import parts_table
from bench.report.tables.published import published_table
from bench.report.tables.ranking import overview_table, ranking_table
from bench.report.tables.roofline import RooflineSection, make_roofline_section
from bench.report.tables.table import Table
from bench.text.wording import plural

from .exhibits import Exhibit, commands_of, make_exhibits, warnings_of

OPEN_FIGURES = 2  # the rest of a case's figures are folded
_LISTED = 12  # cases, and rooflines, in the list of contents


@dataclass(frozen=True)
class Section:
    """The part of the page about one case.

    Attributes
    ----------
    answers
        Which backend to take, for each use; [] if none is ranked.
    answer
        That for fits in a loop, or why none is ranked.
    verdict
        The same in sentences, with what to heed.
    about
        Data, target and machine in words, as pairs of name and text.
    snippet
        Code that fits the backends to take.
    unavailable
        Pairs of the name of a backend that is not available here, and what it needs.
    """

    case: Case
    answers: list[tuple[Use, Answer]]
    answer: Answer
    verdict: list[str]
    about: list[tuple[str, str]]
    snippet: str
    left_out: str
    unavailable: list[tuple[str, str]]
    cautions: list[str]
    origin: str
    facts: list[tuple[str, str]]
    ranking: Table
    parts: Table | None
    exhibits: list[Exhibit]
    tables: list[Table]
    published: Table | None


@dataclass(frozen=True)
class Report:
    """The contents of the page.

    Attributes
    ----------
    looks
        Colour and marker of each backend, in the order in which backends first appear.
    missing
        What runs that have not ended are still to measure, over all cases; "" for nothing, or if
        the only case says so itself.
    ended
        Whether all runs have ended.
    overview
        A table with one row per case; None for a single case.
    overall
        Figures over several cases.
    rooflines, checks
        Each with its figures.
    """

    records: Sequence[AnyRecord]
    looks: dict[str, Look]
    missing: str
    ended: bool
    overview: Table | None
    sections: list[Section]
    overall: list[Exhibit]
    rooflines: list[tuple[RooflineSection, list[Exhibit]]]
    checks: list[tuple[GPUSection, list[Exhibit]]]

    @property
    def exhibits(self) -> Iterator[Exhibit]:
        """All figures: those over all cases, then the first of each case, the second, and so on."""
        yield from self.overall
        groups = [section.exhibits for section in self.sections]
        groups += [exhibits for _, exhibits in self.rooflines]
        groups += [exhibits for _, exhibits in self.checks]
        for row in zip_longest(*groups):
            yield from (exhibit for exhibit in row if exhibit is not None)

    @cached_property
    def subject(self) -> str:
        """The subject, for the title."""
        if len(self.sections) == 1:
            return f"which solver to take, {self.sections[0].case.title}"
        if self.sections:
            return "which solver to take"
        return "how close to the machine's limit" if self.rooflines else "check of a GPU"

    @cached_property
    def source(self) -> str:
        """The number of records and runs, and the date of the newest."""
        runs = sorted({record["run"] for record in self.records})
        many = f"{plural(len(self.records), 'record')} of {plural(len(runs), 'run')}"
        return f"{many}, the newest of {max(record['created'] for record in self.records)}"

    @cached_property
    def contents(self) -> list[tuple[str, str]]:
        """The list of contents: pairs of the id of a part of the page, and its title."""
        parts = [("all-cases", "Over all cases")] if self.overall else []
        for section in self.sections[:_LISTED]:
            slug = section.case.slug
            alone = len(self.sections) == 1
            parts.append((f"case-{slug}", "Figures" if alone else section.case.title))
            if alone:
                if section.exhibits[OPEN_FIGURES:]:
                    parts.append((f"figures-{slug}", "More figures"))
                parts.append((f"facts-{slug}", "Data and objective"))
                if section.tables:
                    parts.append((f"table-1-{slug}", "Tables"))
                if section.published:
                    parts.append((f"published-{slug}", "Published figures"))
        parts += [(roofline.stem, roofline.heading) for roofline, _ in self.rooflines[:_LISTED]]
        parts += [(check.stem, check.heading) for check, _ in self.checks[:_LISTED]]
        return [*parts, ("method", "Method"), ("environment", "Environment")]

    @cached_property
    def commands(self) -> tuple[str, ...]:
        """The commands that measure and report everything again."""
        return commands_of(self.records)

    @cached_property
    def environment(self) -> list[Table]:
        """The machine and the software."""
        fits: list[tuple[str, Measured]] = [
            (section.case.title, record)
            for section in self.sections
            for record in section.case.records
        ]
        fits += [
            (section.heading, record)
            for section, _ in self.rooflines
            for record in section.roofline.records
        ]
        machines = [(section.heading, section.check["environment"]) for section, _ in self.checks]
        return environment_tables(fits, machines)

    @cached_property
    def method(self) -> Sequence[str]:
        """How the numbers of all cases are measured, one paragraph each."""
        return METHOD if self.sections else ()


def gather(records: Sequence[AnyRecord], plan: Plan = NO_PLAN) -> Report:
    """Return the contents of a report of some records.

    Parameters
    ----------
    plan
        What runs that have not ended are to measure.
    """
    times, rooflines, checks = by_kind(records)
    cases, roofs = group_cases(times, plan), group_rooflines(rooflines, plan)
    looks = _looks(cases, rooflines, checks)
    shown = [record for case in cases for record in case.records]
    sections = [_section(case, looks, f"--{case.slug}" if len(cases) > 1 else "") for case in cases]
    roof_sections = []
    for roof in roofs:
        section = make_roofline_section(roof, looks, alone=len(roofs) == 1)
        suffix = f"--{roof.slug}" if len(roofs) > 1 else ""
        roof_sections.append((section, make_exhibits("roofline", roof, suffix, roof.records)))
    check_sections = []
    for place, check in enumerate(checks, 1):
        several = len(checks) > 1
        gpu = make_gpu_section(check, looks, place if several else 0)
        suffix = f"--{place}" if several else ""
        check_sections.append((gpu, make_exhibits("GPU check", check, suffix, [check])))
    return Report(
        records=[*shown, *[record for roof in roofs for record in roof.records], *checks],
        looks=looks,
        missing=missing_in_all(plan, cases, roofs),
        ended=plan.ended,
        overview=overview_table(cases) if len(cases) > 1 else None,
        sections=sections,
        overall=make_exhibits("cases", cases, "", shown),
        rooflines=roof_sections,
        checks=check_sections,
    )


def _section(case: Case, looks: dict[str, Look], suffix: str) -> Section:
    return Section(
        case=case,
        answers=answers(case),
        answer=answer(case),
        verdict=verdict(case),
        about=about(case),
        snippet=snippet(case),
        left_out=left_out(case),
        unavailable=unavailable(case),
        cautions=cautions(case),
        origin=origin(case),
        facts=case_facts(case),
        ranking=ranking_table(case, looks),
        parts=parts_table(case),
        exhibits=make_exhibits("case", case, suffix, case.records, warnings_of(case)),
        tables=measured_tables(case),
        published=published_table(case),
    )


def _looks(
    cases: Sequence[Case], rooflines: Sequence[RooflineRecord], checks: Sequence[GPUCheck]
) -> dict[str, Look]:
    """Return colours and markers, in the order in which backends first appear in a ranking."""
    backends = [(entry.name, entry.record["backend"]) for case in cases for entry in case.entries]
    backends += [(record["backend"]["name"], record["backend"]) for record in rooflines]
    looks = [(name, backend.get("look", "")) for name, backend in backends]
    looks += [(fit["backend"], fit["look"]) for check in checks for fit in check["fits"]]
    texts: dict[str, str] = {}
    for name, look in looks:
        texts[name] = texts.get(name) or look
    return styles(texts)
