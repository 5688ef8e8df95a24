"""Upkeep of what grows: files, old versions and old rows of the tables, entries of the log."""
