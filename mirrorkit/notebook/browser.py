"""The pair browser as a widget: Python has the pairs, a small script in the page has keys and drawing.

What crosses to the page is one trait, `view`, which is data; what comes back are small messages, as
`{"do": "next"}`. A page that is loaded again draws what the trait holds. Import this where it is used only.
"""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from mirrorkit.notebook.reading import still
from mirrorkit.notebook.reading.reader import Reader

_STATIC = Path(__file__).parent / "static"


class PairBrowser(anywidget.AnyWidget):
    """Shows pairs side by side and takes votes on them; a session's or a recording's `browse` makes one.

    `pair_id` is the pair on the page, `pairs` are those that the filter keeps, in reading order.
    """

    _esm = _STATIC / "browser.js"
    _css = _STATIC / "browser.css"
    view = traitlets.Dict().tag(sync=True)

    def __init__(self, reader: Reader) -> None:
        super().__init__(view=reader.view())
        self._reader = reader
        self.on_msg(self._heard)

    @property
    def pair_id(self) -> str | None:
        """The pair that is shown; None if there is none."""
        return self._reader.pair_id

    @property
    def pairs(self) -> Any:
        """The pairs that the filter keeps, in reading order: a `polars.DataFrame`."""
        return self._reader.pairs

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        if isinstance(message, dict):
            self._reader.do(message)
            self.view = self._reader.view()

    def __repr__(self) -> str:
        return still.text(self.view)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        made = super()._repr_mimebundle_(**kwargs)
        data, metadata = made if isinstance(made, tuple) else (made or {}, {})
        told = {"text/plain": still.text(self.view), "text/html": still.html(self.view)}
        return {**data, **told}, metadata
