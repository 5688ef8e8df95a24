"""The report: one HTML file that tells a person what was trained and why it passed or failed."""
