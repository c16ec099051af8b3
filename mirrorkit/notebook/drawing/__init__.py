"""Drawing a figure as SVG without Plotly: what `mirrorkit.notebook.picture` is made of."""
