"""The search for better settings of training: trials with Optuna, told to MLflow as nested runs."""
