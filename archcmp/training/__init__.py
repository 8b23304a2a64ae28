"""Training, small: how stable a design is over learning rates and seeds."""
