"""The panels of the figures, one kind a file: each is added to a figure at a row and column."""
