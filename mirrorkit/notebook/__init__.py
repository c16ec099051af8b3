"""The only room that knows plotly, ipywidgets and nested event loops."""
