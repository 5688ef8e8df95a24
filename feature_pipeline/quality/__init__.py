"""Data quality: what a task expects of its texts and labels, checked in batch and stream."""
