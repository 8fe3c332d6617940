"""The earlier name of `bench.cases.targets`, under which pages of the article import it."""

from bench.cases.targets import baselines

__all__ = ["baselines"]
