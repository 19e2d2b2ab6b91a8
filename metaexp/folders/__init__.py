"""Folders of runs, sweeps and searches: found, listed, shown, watched and removed. Without torch."""
