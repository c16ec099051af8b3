"""Shared by capture's tests: which scenarios are run in which ways, and threads let go at the same moment."""

import threading
from collections.abc import Callable

import pytest

LONG = 30


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A child takes seconds to start, and does not know how its parent was called: one drive is enough."""
    twice = [item for item in items if _is_process_and_sync(item)]
    config.hook.pytest_deselected(items=twice)
    items[:] = [item for item in items if item not in twice]


def _is_process_and_sync(item: pytest.Item) -> bool:
    spec = getattr(item, "callspec", None)
    if spec is None or item.path.name != "test_mirror.py":
        return False
    return (spec.params.get("isolation"), spec.params.get("drive")) == ("process", "sync")


@pytest.fixture(scope="session")
def together() -> Callable[..., None]:
    """Runs these at once, one thread each, all let go at the same moment."""

    def together(*work: Callable[[], None]) -> None:
        barrier, errors = threading.Barrier(len(work)), []

        def start(one: Callable[[], None]) -> None:
            barrier.wait(LONG)
            try:
                one()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=start, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        assert not errors

    return together
