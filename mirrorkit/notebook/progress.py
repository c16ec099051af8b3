"""A progress bar: a widget in a notebook, text in a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(
    total: int, label: str, shown: bool = True, unit: str = "requests"
) -> Iterator[Callable[[int], object]]:
    """A bar up to `total`, counted in `unit`; the function it gives is told how many are done."""
    if not shown:
        yield lambda done: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=label, unit=f" {unit}") as bar:
        yield lambda done: bar.update(done - bar.n)
