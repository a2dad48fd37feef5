"""Scores of models in public benchmarks, and the abilities that they speak for."""
