"""The training service: takes requests to train over HTTP and executes them."""
