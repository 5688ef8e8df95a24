"""What was answered, on its way into the feature store."""
