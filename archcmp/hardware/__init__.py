"""Published figures of devices: a YAML sheet each, in `sheets`, every figure with its source. No torch."""
