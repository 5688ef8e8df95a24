"""The batch path: a file of history into the feature store."""
