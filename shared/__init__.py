"""Contracts that the three pipelines agree on. No torch, no bytewax, no web framework in here."""
