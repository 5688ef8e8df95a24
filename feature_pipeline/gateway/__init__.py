"""The gateway: takes mentions and labels over HTTP and appends them to the event log."""
