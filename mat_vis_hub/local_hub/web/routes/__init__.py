"""The endpoints, one module per topic."""
