"""``python -m worker.cli``: the command line where the console script is not on the path."""

from worker.cli import main

main()
