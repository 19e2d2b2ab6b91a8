"""Folders of runs, sweeps and searches for all tests of this room."""

from folders_of_runs import outputs as outputs
