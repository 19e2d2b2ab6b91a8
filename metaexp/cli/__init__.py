"""metaexp VERB: main.py has the table of verbs. A verb is one file; its ``main`` takes the arguments after the verb."""
