"""The values of images as their files store them: which are black and white, and whether files are damaged."""
