"""How results are shown: what things are called, numbers as text, the terminal, and pages."""
