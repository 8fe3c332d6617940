"""The contents of the records as data: cases, rooflines, verdicts and tidy tables."""
