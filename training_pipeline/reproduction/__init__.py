"""Reproduction: what a version came about from, and how far training it again comes."""
