"""What the feature pipeline carries: a backfill, the stream, and how fresh features are."""
