"""How two answers differ: texts, JSON, tool calls; what does not count; which fields."""
