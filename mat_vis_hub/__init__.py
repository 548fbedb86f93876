"""Commit to the Hugging Face Hub without dying of HTTP 429."""

__version__ = "0.1.0"
