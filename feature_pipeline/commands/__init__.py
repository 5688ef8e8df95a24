"""The commands of `python -m feature_pipeline`, a module for each noun."""
