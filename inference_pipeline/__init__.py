"""The inference pipeline: serves the champion of a task over HTTP, with its online features."""
