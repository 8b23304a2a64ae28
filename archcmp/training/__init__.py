"""Training small: text, recipe, step, probes, runs and what they say together: the stability lab."""
