"""HTTP: the middleware, the application and its routes."""
