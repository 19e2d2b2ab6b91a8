"""Writes a comparison as tables, figures, documents and one page."""
