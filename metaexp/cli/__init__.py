"""metaexp VERB: main.py has the table of verbs, every verb is one file."""
