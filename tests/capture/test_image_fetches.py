"""Images of a request are fetched by nobody on mirrorkit's account, whoever counts its tokens."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import litellm
import pytest

import mirrorkit as mk
from mirrorkit.capture.router.tokens import spare_images
from mirrorkit.simulator import Reply

pytestmark = pytest.mark.slow


class Gallery:
    """A server of images that counts how often it is asked."""

    def __init__(self) -> None:
        gallery, self.asked = self, 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gallery.asked += 1
                self.send_error(404)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/parcel.png"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gallery]:
    # LiteLLM refuses loopback addresses, which stand for any host here
    monkeypatch.setattr(litellm, "user_url_validation", False)
    served = Gallery()
    yield served
    served.close()


def asked(url: str) -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]


@pytest.mark.parametrize("usage", [None, False])
def test_mirroring_fetches_no_image(sim: Any, drive: Any, gallery: Gallery, usage: Any) -> None:
    """LiteLLM fetches those of a stream without a usage once by itself, for the primary."""
    reply, options = Reply(usage=usage), {"stream": True, "stream_options": {"include_usage": True}}
    router = litellm.Router(
        model_list=[sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
    )
    for model in ("gpt-4o", "gpt-4o-mini"):
        sim.script(model, reply, reply)
    drive.read(drive.call(router, "completion", model="chat", messages=asked(gallery.url), **options))
    plain, messages = gallery.asked, asked(gallery.url)
    with mk.MirrorSession(router, silent_model="next") as session:
        drive.read(drive.chat(session, messages=messages, **options))
        drive.drain(session)
        (row,) = session.frame.rows(named=True)
        drive.close(session)
    assert gallery.asked == 2 * plain
    source = "provider" if usage is None else "estimated"
    assert row["primary_usage_source"] == row["silent_usage_source"] == source
    sent = [request.body["messages"] for request in sim.requests]
    assert sent == [messages] * 3
    assert messages == asked(gallery.url)


def test_only_images_that_are_looked_at_in_detail_are_spared() -> None:
    messages = [*asked("https://host/a.png"), {"role": "user", "content": "Hi"}, {"role": "assistant"}]
    spare_images(SimpleNamespace(messages=messages))
    assert messages[0]["content"][1]["image_url"]["detail"] == "auto"
    for odd in (None, 7, "text", [None, 7, {"content": [None, {"image_url": "https://host/a.png"}]}]):
        spare_images(SimpleNamespace(messages=odd))
