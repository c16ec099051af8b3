"""The pair browser's inside: which pairs, which votes, and what of a pair is shown."""
