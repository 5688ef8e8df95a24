"""Feature pipeline: history in batches and events in a stream become features in Feast."""
