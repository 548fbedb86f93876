"""Commit budgets: one count for all who write to a repository."""
