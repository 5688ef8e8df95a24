"""Writing the feature store: what Feast keeps, offline tables, online views, the handover."""
