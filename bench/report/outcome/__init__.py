"""What the records say, as data: cases, rooflines, the verdict, tidy tables."""
