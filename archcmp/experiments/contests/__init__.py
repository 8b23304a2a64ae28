"""Races: our model against another way to compute the same, both read in the same rounds."""
