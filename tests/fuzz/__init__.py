"""Whatever a user gives ends in a result or in one line that says what is wrong. `python -m tests.fuzz KIND N
SEED` tries more cases than the suite does."""
