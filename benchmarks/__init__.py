"""What the system costs beside what else could be used; run by hand, never deployed."""
