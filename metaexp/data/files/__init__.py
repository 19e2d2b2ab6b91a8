"""Archives, folders, class lists, downloads and the cache: how files become tensors."""
