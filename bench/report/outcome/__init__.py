"""What the records say, as data, and how their numbers are made.

It makes cases, rooflines, the verdict and tidy tables of them.
"""
