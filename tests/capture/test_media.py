"""Images, audio and files are recorded by kind, size and hash, and sent as they are."""

import base64
import json
import random
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit import MirrorSession
from mirrorkit.capture import media
from mirrorkit.capture.scrub import Scrubber
from mirrorkit.simulator import Reply

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
WAV = b"RIFF\x00\x00\x00\x00WAVEfmt " + bytes(range(256)) * 4
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 4
PCM = bytes(range(1, 256)) * 4


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64(data)}"


def told(kind: str, data: bytes) -> str:
    return f"[{kind}, {len(data)} bytes, sha256:{sha256(data).hexdigest()}]"


PARTS: dict[str, tuple[Any, Any]] = {
    "chat image": (
        {"type": "image_url", "image_url": {"url": url("image/png", PNG), "detail": "low"}},
        {"type": "image_url", "image_url": {"url": told("image/png", PNG), "detail": "low"}},
    ),
    "chat audio": (
        {"type": "input_audio", "input_audio": {"data": b64(PCM), "format": "pcm16"}},
        {"type": "input_audio", "input_audio": {"data": told("audio/pcm16", PCM), "format": "pcm16"}},
    ),
    "chat file": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": url("application/pdf", PDF)}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": told("application/pdf", PDF)}},
    ),
    "chat file without a URL": (
        {"type": "file", "file": {"file_data": b64(PDF)}},
        {"type": "file", "file": {"file_data": told("application/pdf", PDF)}},
    ),
    "responses image": (
        {"type": "input_image", "image_url": url("image/png", PNG)},
        {"type": "input_image", "image_url": told("image/png", PNG)},
    ),
    "responses file": (
        {"type": "input_file", "filename": "a", "file_data": url("application/pdf", PDF)},
        {"type": "input_file", "filename": "a", "file_data": told("application/pdf", PDF)},
    ),
    "responses drawing": (
        {"type": "image_generation_call", "id": "ig_1", "result": b64(PNG)},
        {"type": "image_generation_call", "id": "ig_1", "result": told("image/png", PNG)},
    ),
    "responses screenshot": (
        {"type": "computer_call_output", "output": {"image_url": url("image/png", PNG)}},
        {"type": "computer_call_output", "output": {"image_url": told("image/png", PNG)}},
    ),
    "anthropic image": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(b"tiny")}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": told("image/png", b"tiny")},
        },
    ),
    "gemini": (
        {"inline_data": {"mime_type": "image/png", "data": b64(b"tiny")}},
        {"inline_data": {"mime_type": "image/png", "data": told("image/png", b"tiny")}},
    ),
    "spoken answer": (
        {"id": "audio_1", "data": b64(WAV), "transcript": "Hi"},
        {"id": "audio_1", "data": told("audio/wav", WAV), "transcript": "Hi"},
    ),
    "drawn answer": (
        {"images": [{"type": "image_url", "image_url": {"url": url("image/png", PNG)}}]},
        {"images": [{"type": "image_url", "image_url": {"url": told("image/png", PNG)}}]},
    ),
    "drawn by an image model": (
        {"b64_json": b64(PNG), "url": None},
        {"b64_json": told("image/png", PNG), "url": None},
    ),
    "bytes": (
        {"image": {"source": {"bytes": PNG}}},
        {"image": {"source": {"bytes": told("image/png", PNG)}}},
    ),
    "a tool's result that is JSON": (
        {"role": "tool", "content": json.dumps({"type": "image", "data": b64(PNG)})},
        {"role": "tool", "content": json.dumps({"type": "image", "data": told("image/png", PNG)})},
    ),
}

AS_THEY_ARE: dict[str, Any] = {
    "an image's address": {"type": "image_url", "image_url": {"url": "https://host/parcel.png?data=x"}},
    "an uploaded file": {"type": "file", "file": {"file_id": "file-abc"}},
    "a text document": {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "tea"},
    },
    "arguments": {"name": "write", "arguments": '{"format": "json", "data": "hello", "result": "ok"}'},
    "a word called data": {"format": "json", "data": "hello", "mime_type": "text/plain"},
    "a result in words": {"result": "a long text without any sign in it " * 20},
    "numbers": {"data": [1, 2, 3], "result": 7, "b64_json": None},
    "words about data URLs": {"content": "A data: URL begins with data:image/png;base64,iVBORw and goes on."},
    "svg": {"content": "data:image/svg+xml,%3Csvg%3E"},
}


class TestWhatIsRecorded:
    @pytest.mark.parametrize("part", PARTS)
    def test_a_part_is_told_by_kind_size_and_hash(self, part: str) -> None:
        given, expected = PARTS[part]
        for wrapped in (lambda p: p, lambda p: [{"role": "user", "content": [p]}], lambda p: {"deep": [[p]]}):
            assert json.loads(Scrubber().json(wrapped(given)) or "") == wrapped(expected)
        assert json.loads(Scrubber().params({"tools": [given]}) or "") == {"tools": [expected]}
        if part != "bytes":
            assert json.loads(Scrubber().json_text(json.dumps([given])) or "") == [expected]

    @pytest.mark.parametrize("part", AS_THEY_ARE)
    def test_what_is_no_base64_stays_as_it_is(self, part: str) -> None:
        given = AS_THEY_ARE[part]
        for scrubber in (Scrubber(), Scrubber(redact=str)):
            assert json.loads(scrubber.json([given]) or "") == [given]

    @pytest.mark.parametrize("part", PARTS)
    def test_all_of_it_is_kept_where_that_is_asked_for(self, part: str) -> None:
        if part != "bytes":
            given = PARTS[part][0]
            assert json.loads(Scrubber(keep_media=True).json([given]) or "") == [given]
            known = Scrubber(keep_media=True).knowing(frozenset(["sk-other-0123456789"]))
            assert json.loads(known.json([given]) or "") == [given]

    def test_a_text_keeps_its_words_around_media(self) -> None:
        text = (
            f"Before ![it]({url('image/png', PNG)}) and <img src='{url('image/gif', b'GIF8' * 9)}'/> after."
        )
        expected = (
            f"Before ![it]({told('image/png', PNG)}) and <img src='{told('image/gif', b'GIF8' * 9)}'/> after."
        )
        for scrubber in (Scrubber(), Scrubber(redact=str)):
            assert scrubber.text(text) == scrubber.error(text) == expected

    def test_a_text_after_media_is_no_part_of_it(self) -> None:
        text = f"{url('image/png', PNG)}\nWhat is this"
        assert media.in_text(text) == f"{told('image/png', PNG)}\nWhat is this"

    def test_redact_sees_what_is_recorded(self) -> None:
        seen: list[str] = []
        Scrubber(redact=lambda text: seen.append(text) or text).json(PARTS["chat image"][0])
        assert seen == ["image_url", told("image/png", PNG), "low"]

    def test_other_ways_to_write_base64_are_the_same_bytes(self) -> None:
        lines = base64.encodebytes(PNG).decode()
        ways = [
            url("image/png", PNG),
            f"data:image/png;base64,{lines}",
            f"data:image/png;base64,{base64.urlsafe_b64encode(PNG).decode().rstrip('=')}",
            f"data:image/png;charset=utf-8;base64,{b64(PNG)}",
            f"data:image/png;base64,{b64(PNG).replace('=', '%3D').replace('/', '%2F').replace('+', '%2B')}",
            f"data:;base64,{b64(PNG)}",
        ]
        assert {media.in_text(way) for way in ways} == {told("image/png", PNG)}

    def test_what_cannot_be_decoded_is_told_by_its_letters(self) -> None:
        broken = "A" * 257
        assert media.in_text(f"data:image/png;base64,{broken}") == told("image/png", broken.encode())

    @pytest.mark.parametrize(
        ("start", "kind"),
        [
            (b"\xff\xd8\xff\xe0", "image/jpeg"),
            (b"GIF89a", "image/gif"),
            (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
            (b"ID3\x04", "audio/mpeg"),
            (b"OggS", "audio/ogg"),
            (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
            (b"\x00\x01", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ],
    )
    def test_a_kind_that_nobody_says_is_told_by_how_it_begins(self, start: bytes, kind: str) -> None:
        assert media.described(start) == told(kind, start)

    @pytest.mark.parametrize(
        "kind", ["x" * 200 + "/png", "a/b\x1b[31m", "]", "text", 7, {"a": 1}, ["image/png"]]
    )
    def test_a_kind_that_is_none_is_not_believed(self, kind: Any) -> None:
        part = media.in_part({"type": "base64", "media_type": kind, "format": kind, "data": b64(PNG)})
        assert part["data"] == told("image/png", PNG)

    @given(st.binary(min_size=192, max_size=600))
    @pytest.mark.slow
    def test_the_same_bytes_are_told_the_same_whatever_their_place(self, data: bytes) -> None:
        of_url = media.in_text(url("image/png", data))
        of_field = media.in_part({"media_type": "image/png", "data": b64(data)})["data"]
        assert of_url == of_field == media.described(data, "image/png")

    @given(st.text())
    def test_a_text_is_told_once(self, text: str) -> None:
        once = media.in_text(text)
        assert media.in_text(once) == once
        assert ";base64," in text or once == text

    @pytest.mark.parametrize("name", ["url", "lines", "field", "prose"])
    def test_a_film_is_decoded_piece_by_piece(self, name: str) -> None:
        film = random.Random(1).randbytes(1_000_003)
        lines = base64.encodebytes(film).decode()
        ways = {
            "url": media.in_text(url("video/mp4", film)),
            "lines": media.in_text(f"data:video/mp4;base64,{lines}"),
            "field": media.in_part({"mime_type": "video/mp4", "data": lines})["data"],
            "prose": media.in_text(f"See {url('video/mp4', film)}")[4:],
        }
        assert ways[name] == told("video/mp4", film)

    def test_lines_of_other_lengths_are_no_base64(self) -> None:
        text = f"data:image/png;base64,{'A' * 60}\n{'B' * 60}"
        assert media.in_text(text) == f"{media.in_text(text[:-61])}\n{'B' * 60}"

    def test_beside_a_value_that_cannot_be_compared_media_are_told_of(self) -> None:
        class Touchy:
            def __eq__(self, other: object) -> bool:
                raise RuntimeError("no comparison")

            __hash__ = None  # type: ignore[assignment]

        parts = [{"type": Touchy(), "data": b64(PNG)}, {"type": "text", "text": "Hi"}]
        recorded = Scrubber().json([{"role": "user", "content": parts}])
        assert told("image/png", PNG) in (recorded or "")
        assert "Hi" in (recorded or "")

    def test_lists_that_hold_themselves_end(self) -> None:
        loop: dict[str, Any] = {"data": b64(PNG)}
        loop["result"] = loop["images"] = [loop]
        assert "[too deep]" in str(Scrubber().json(loop))


def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o", silent_model="next"), sim.deployment("next", "gpt-4o-mini")]


@pytest.mark.parametrize("keep_media", [False, True])
def test_a_session_sends_media_as_they_are_and_records_what_they_are(
    sim: Any, drive: Any, keep_media: bool
) -> None:
    content = [{"type": "text", "text": "What is this?"}, PARTS["chat image"][0]]
    drawn = f"![it]({url('image/png', PNG)})"
    for model in ("gpt-4o", "gpt-4o-mini"):
        sim.script(model, Reply(text=drawn))
    session = MirrorSession(models(sim), keep_media=keep_media)
    answer = drive.chat(session, messages=[{"role": "user", "content": content}])
    drive.drain(session)
    drive.close(session)
    assert answer.choices[0].message.content == drawn
    assert [request.body["messages"][0]["content"] for request in sim.requests] == [content] * 2
    row = session.frame.row(0, named=True)
    assert (b64(PNG) in row["messages"]) == (b64(PNG) in row["primary_output"]) == keep_media
    assert (told("image/png", PNG) in row["messages"]) == (not keep_media)
    assert row["primary_output"] == row["silent_output"]
    assert content[1] == PARTS["chat image"][0]


def drawing(model: str, data: bytes, text: str = "") -> Reply:
    message = {
        "role": "assistant",
        "content": text,
        "images": [{"type": "image_url", "image_url": {"url": url("image/png", data)}, "index": 0}],
    }
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "usage": usage}
    return Reply(body={**whole, "choices": [choice]})


def test_an_image_that_a_model_draws_is_its_output(sim: Any, drive: Any) -> None:
    """Two sides that draw the same have the same output, and those that do not have not."""
    sim.script("gpt-4o", drawing("gpt-4o", PNG), drawing("gpt-4o", PNG, "It:"))
    sim.script("gpt-4o-mini", drawing("gpt-4o-mini", PNG), drawing("gpt-4o-mini", PNG[:-1], "It:"))
    session = MirrorSession(models(sim))
    for _ in range(2):
        answer = drive.chat(session)
        assert answer.choices[0].message.images[0]["image_url"]["url"] == url("image/png", PNG)
        drive.drain(session)
    drive.close(session)
    same, other = session.frame.rows(named=True)
    assert same["primary_output_kind"] == same["silent_output_kind"] == "media"
    assert same["primary_output"] == same["silent_output"] == told("image/png", PNG)
    assert other["primary_output"] == f"It:\n{told('image/png', PNG)}"
    assert other["silent_output"] == f"It:\n{told('image/png', PNG[:-1])}"


@pytest.mark.parametrize(
    ("part", "address"),
    [
        ({"type": "image_url", "image_url": {"url": "https://host/a.png"}}, "https://host/a.png"),
        ({"type": "input_image", "image_url": "https://host/a.png"}, "https://host/a.png"),
        (
            {"type": "image", "source": {"media_type": "image/png", "data": "iVBO"}},
            "data:image/png;base64,iVBO",
        ),
        ({"type": "image", "source": {"media_type": 7, "data": "iVBO"}}, "data:;base64,iVBO"),
        ({"b64_json": "iVBO", "url": None}, "data:;base64,iVBO"),
        ({"type": "image_url", "image_url": {"url": ""}}, None),
        ({"type": "image_url"}, None),
        ({}, None),
        (None, None),
        ("text", None),
    ],
)
def test_where_an_image_of_an_answer_is(part: Any, address: str | None) -> None:
    assert media.address_of(part) == address


def test_the_items_of_a_response_are_recorded_so_too(sim: Any, drive: Any) -> None:
    asked = [{"role": "user", "content": [PARTS["responses image"][0], PARTS["responses file"][0]]}]
    session = MirrorSession(models(sim))
    drive.call(session, "responses", model="chat", input=asked)
    drive.drain(session)
    drive.close(session)
    assert all(request.body["input"] == asked for request in sim.requests)
    recorded = json.loads(session.frame["messages"][0])
    assert recorded[0]["content"] == [PARTS["responses image"][1], PARTS["responses file"][1]]
