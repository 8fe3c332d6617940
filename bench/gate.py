"""The former name of `bench.cases.targets`; published code of the article imports it."""

from bench.cases.targets import baselines

__all__ = ["baselines"]
