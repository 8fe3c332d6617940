"""``python -m bench.reference``: runs `bench.cases.__main__`."""

from bench.cases.__main__ import main
from bench.text import command

if __name__ == "__main__":
    command.run(main)
