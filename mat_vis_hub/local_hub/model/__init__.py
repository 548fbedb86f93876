"""Repositories and their content, without HTTP."""
