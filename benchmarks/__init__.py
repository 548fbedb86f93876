"""What the README's figures come from. `nox -s bench` runs all of it; `python -m benchmarks cost` one part."""
