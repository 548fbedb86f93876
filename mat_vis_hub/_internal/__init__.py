"""Helpers that know nothing about the Hub: clock, progress, sanitizing, per-process state."""
