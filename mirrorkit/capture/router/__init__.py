"""LiteLLM's Router: taken over and given back, asked by its entry points, and rebuilt in another process."""
