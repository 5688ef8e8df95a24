"""The event log on Kafka: one transaction an append, whatever number of partitions it touches."""
