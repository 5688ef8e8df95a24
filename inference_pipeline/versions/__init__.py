"""Which versions of which models are in service."""
