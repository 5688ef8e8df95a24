"""The event log: a durable, partitioned record of what became known, and when."""
