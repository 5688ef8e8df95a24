"""From mentions to predictions: the engine and the queue before its models."""
