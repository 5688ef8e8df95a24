"""Scoring without a request: files of texts, and mentions as they land in the feature store."""
