"""Who takes the inner steps: metaexp, or learn2learn."""
