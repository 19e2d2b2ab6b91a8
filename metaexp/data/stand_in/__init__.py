"""Made-up images in place of a benchmark's, so that every experiment runs where its data are not."""
