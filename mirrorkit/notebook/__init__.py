"""The only room that knows plotly, ipywidgets and nested event loops."""

from mirrorkit.notebook.loops import allow_nested_loops

__all__ = ["allow_nested_loops"]
