"""The report's parts: the page, the example pairs, what effects mean."""
