"""Scores of models in public benchmarks: shipped with the package, and fetched from the provider."""
