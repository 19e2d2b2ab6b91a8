"""Characters of fonts: which there are, which drawings are worth having, and the list that pins the files."""
