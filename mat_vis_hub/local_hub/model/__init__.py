"""Repositories and their content, without HTTP: files and trees, history and refs, storage on disk."""
