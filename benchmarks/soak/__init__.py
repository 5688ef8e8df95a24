"""Whether the server stays as it is: hours of mixed load, swaps and outages, and its memory."""
