"""The stream: a Bytewax dataflow from the event log into the feature store."""
