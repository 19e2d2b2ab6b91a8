"""Archives, folders, class lists and downloads: how files become tensors."""
