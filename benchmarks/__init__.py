"""Measures the README's figures. `nox -s bench` runs all parts, `python -m benchmarks cost` one."""
