"""Arithmetic on frames: no LiteLLM, no notebook."""
