"""Of the scenarios, which are run in which ways."""

import pytest


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
