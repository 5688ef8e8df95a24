"""The python_function flavor: a version that MLflow's own tools can load and serve."""
