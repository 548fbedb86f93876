"""Ways to commit: batches, folders, transactions, and recovery after a lost response."""
