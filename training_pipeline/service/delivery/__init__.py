"""Delivery: messages that tell workers which run to look at. They carry nothing else."""
