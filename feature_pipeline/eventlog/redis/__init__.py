"""The event log on Redis Streams: one script on the server an append, for several gateways."""
