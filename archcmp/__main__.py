"""`python -m archcmp`."""

from archcmp.cli import main

main()
