"""Throughput on a real device: what runs (workloads), on what (device), timed how (timer, benchmark)."""
