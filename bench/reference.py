"""``python -m bench.reference``: the command of `bench.cases`, by its name."""

from bench.cases.__main__ import main

if __name__ == "__main__":
    main()
