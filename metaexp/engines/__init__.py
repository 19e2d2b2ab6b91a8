"""The code that takes the inner steps: metaexp's own, or learn2learn."""
