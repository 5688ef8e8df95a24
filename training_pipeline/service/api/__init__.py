"""The HTTP face of the training service."""
