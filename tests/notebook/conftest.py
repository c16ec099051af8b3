"""A real JupyterLab, or Notebook 7, in a real headless Chromium that may reach nothing but loopback."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import nbformat
import pytest

TOKEN = "mirrorkit-tests"
LOOPBACK = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:")
# without these Chromium calls home, and as root it needs the first
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
ALL_RAN = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = Array.from(panel.model.cells).filter(cell => cell.type === 'code');
    return cells.every(cell => cell.executionCount > 0)
        && panel.sessionContext.session.kernel.status === 'idle';
}"""


class Lab:
    """A running JupyterLab or Notebook 7: its address, its folder, and how a page runs a notebook in it."""

    def __init__(self, address: str, folder: Path, pages: str = "lab/tree") -> None:
        self.address = address
        self.folder = folder
        self.pages = pages

    def get(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(
            f"{self.address}/api/{path}", method=method, headers={"Authorization": f"token {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def open(self, page: Any, notebook: Any, name: str) -> None:
        """Open a notebook, with the outputs it has; returns when it has a kernel."""
        nbformat.write(notebook, self.folder / name)
        page.goto(f"{self.address}/{self.pages}/{name}?token={TOKEN}&reset")
        page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
            "?.connectionStatus === 'connected'"
        )

    def run_all(self, page: Any, notebook: Any, name: str) -> None:
        """Open a notebook and press "Run All", as a person would; returns when the last cell is done."""
        self.open(page, notebook, name)
        page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(ALL_RAN)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: Any) -> Iterator[Lab]:
    own = {"LabApp.expose_app_in_browser": True, "LabApp.extension_manager": "readonly"}
    with _served(tmp_path_factory.mktemp("lab"), "jupyterlab", "lab/tree", own) as running:
        yield running


@pytest.fixture(scope="module")
def notebook7(tmp_path_factory: Any) -> Iterator[Lab]:
    own = {"JupyterNotebookApp.expose_app_in_browser": True}
    with _served(tmp_path_factory.mktemp("notebook7"), "notebook", "notebooks", own) as running:
        yield running


@contextlib.contextmanager
def _served(home: Path, module: str, pages: str, own: dict[str, Any]) -> Iterator[Lab]:
    folder = home / "notebooks"
    folder.mkdir()
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
    }
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": folder,
        "IdentityProvider.token": TOKEN,
        **own,
    }
    log = (home / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", module, "--no-browser", "--allow-root"]
        + [f"--{name}={value}" for name, value in options.items()],
        env={**os.environ, **{k: str(v) for k, v in places.items()}, "JUPYTER_PREFER_ENV_PATH": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    running = Lab(f"http://127.0.0.1:{port}", folder, pages)
    try:
        _wait_for(running, server, home / "server.log")
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def _wait_for(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    end = monotonic() + 90
    while monotonic() < end and server.poll() is None:
        with contextlib.suppress(OSError):
            lab.get("status")
            return
        sleep(0.1)  # a server offers nothing to wait on but its port
    raise RuntimeError(f"Jupyter did not start: {log.read_text()[-2000:]}")


# of a module: while it lives, Playwright's own event loop runs in this thread
@pytest.fixture(scope="module")
def browser(tmp_path_factory: Any) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        None,
    )
    if chromium is None:
        missing = "no Chromium found: install one, or name it in the variable CHROMIUM"
        # where CI runs, a browser that is gone is a fault and not a reason
        pytest.fail(missing) if os.environ.get("MIRRORKIT_CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("chromium")),
            headless=True,
            executable_path=chromium,
            args=FLAGS,
            viewport={"width": 1280, "height": 1420},
        )
        yield context
        context.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page; `page.foreign` lists what it asked for beyond loopback, `page.errors` its script errors."""
    page = browser.new_page()
    page.set_default_timeout(90_000)
    page.foreign, page.errors = [], []

    def gate(route: Any) -> None:
        if route.request.url.startswith(LOOPBACK):
            route.continue_()
        else:
            page.foreign.append(route.request.url)
            route.abort()

    page.route("**/*", gate)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()
