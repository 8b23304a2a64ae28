"""Timing on a device: workloads, the clock, interleaved rounds, statistics, plans within a budget."""
