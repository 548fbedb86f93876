"""The HTTP face of the local Hub: routes and middleware."""
