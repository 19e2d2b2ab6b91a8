"""Datasets and the tasks drawn from them: base.py and one file per dataset."""
