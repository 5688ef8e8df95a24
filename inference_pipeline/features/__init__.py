"""Online features of mentions, in time or not at all."""
