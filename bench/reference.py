"""``python -m bench.reference``: runs `bench.cases.__main__`."""

from bench.cases.__main__ import main

if __name__ == "__main__":
    main()
