"""Sweeps: many jobs frozen together, each run in a process of its own, resumable by the same command."""
