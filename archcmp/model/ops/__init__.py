"""Operators of our own: what each computes, its gradient and its FLOPs formula stand in one file."""
