"""The point-in-time join of this store beside Feast's local stores and bare Polars."""
