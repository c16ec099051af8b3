"""The dashboard's inside: what it counts, and what of it is shown."""
