"""`python -m modelyard.cli` is the command `modelyard`."""

from modelyard.cli.root import main

main()
