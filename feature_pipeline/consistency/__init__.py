"""The consistency meter: what was served against what history says of the same moment."""
