"""A Plotly figure that is seen wherever its notebook is read; imported only when one is drawn."""

from html import escape
from typing import Any

from plotly.graph_objects import Figure

from mirrorkit.notebook.drawing import svg
from mirrorkit.notebook.picture import picture

_SHOWN = 8


class Chart(Figure):  # type: ignore[misc]
    """A Plotly figure that brings a picture and a sentence along, for readers who have no Plotly.

    In a live notebook Plotly draws it. The saved notebook keeps a picture of it too, which nbconvert and code
    hosts show with no script and no network; a terminal prints a sentence. What `plotly.io.renderers.default`
    names is honoured. Arguments, and all else, are those of `plotly.graph_objects.Figure`.

    >>> Chart({"data": [{"y": [1, 2]}], "layout": {"title": {"text": "Latency"}}})
    Chart “Latency”: a notebook draws it; .write_html("chart.html") saves it as a page for the browser.
    """

    def __repr__(self) -> str:
        return text(self)

    def _repr_svg_(self) -> str | None:
        return _picture(self)

    def _repr_html_(self) -> str:
        """What the user's renderer gives, or the picture: Plotly's own would want a network."""
        html = super()._repr_mimebundle_().get("text/html")
        if html is not None:
            return str(html)
        return _picture(self) or f"<p>{escape(text(self))}</p>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **rest: Any) -> dict[str, Any]:
        """What Plotly's default renderer gives, a picture, and a sentence."""
        bundle = super()._repr_mimebundle_(include, exclude, **rest)
        drawn = _picture(self)
        return {"text/plain": text(self), **({"image/svg+xml": drawn} if drawn else {}), **bundle}

    def _ipython_display_(self) -> None:
        """Called by IPython for a cell's last value; a terminal gets the sentence, and no browser opens."""
        import plotly.io as pio
        from IPython import get_ipython
        from IPython.display import display

        is_notebook = type(get_ipython()).__name__ != "TerminalInteractiveShell"
        if not (is_notebook and pio.renderers.render_on_display and pio.renderers.default):
            print(text(self))  # noqa: T201
            return
        display(self._repr_mimebundle_(), raw=True)  # type: ignore[no-untyped-call]
        outside = [name for name in pio.renderers.default.split("+") if _is_outside(name)]
        if outside:
            super().show("+".join(outside))

    def show(self, *args: Any, **kwargs: Any) -> None:
        """Show it in the cell, or as Plotly does where a renderer is asked for or no notebook is there."""
        from IPython import get_ipython

        shell = get_ipython()
        if args or kwargs or shell is None or type(shell).__name__ == "TerminalInteractiveShell":
            super().show(*args, **kwargs)
        else:
            self._ipython_display_()


def _picture(figure: Figure) -> str | None:
    """The picture, or nothing: what the user put into a figure may be what no picture is made of."""
    try:
        return picture(figure)
    except Exception:
        return None


def _is_outside(name: str) -> bool:
    """Whether a renderer opens something of its own, as a browser's window."""
    import plotly.io as pio
    from plotly.io.base_renderers import ExternalRenderer

    return isinstance(pio.renderers[name], ExternalRenderer)


def text(figure: Figure) -> str:
    """The figure as a sentence: its title, its panels, and how to see it."""
    titled = " ".join(svg.lines(figure.layout.title.text))
    panels = [" ".join(svg.lines(note.text)) for note in figure.layout.annotations if note.xref == "paper"]
    more = f" and {len(panels) - _SHOWN} more" if len(panels) > _SHOWN else ""
    shown = f" with {'; '.join(panels[:_SHOWN])}{more}" if panels else ""
    return (
        f"Chart “{titled or 'untitled'}”{shown}: a notebook draws it; "
        '.write_html("chart.html") saves it as a page for the browser.'
    )
