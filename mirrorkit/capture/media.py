"""Images, audio and files inside requests and answers, recorded as what they are and not byte by byte."""

import re
from binascii import a2b_base64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from mirrorkit.capture.fields import field_of, name_of

# Where base64 stands without a data URL: in the audio, files and images of OpenAI, the sources of Anthropic
# and Gemini, and in what image models draw.
_FIELDS = frozenset(("data", "file_data", "b64_json", "partial_image_b64", "result"))
# which of them an answer has an image in
_DRAWN = ("data", "b64_json", "result")
_KINDS = ("media_type", "mime_type", "mimeType")
_AUDIO = frozenset(("wav", "mp3", "flac", "opus", "ogg", "aac", "m4a", "pcm16", "g711_ulaw", "g711_alaw"))
_KIND = re.compile(r"[A-Za-z0-9.+_-]{1,100}/[A-Za-z0-9.+_-]{1,100}")
_MEDIA = ("image/", "audio/", "video/", "application/pdf")
# what there is in the JSON text of all of these
_MARKS = ("base64", 'data":', r"data\":", "b64", '"result":')
_TEXTS = ("text", "input_text", "output_text")

_LETTER = "[A-Za-z0-9+/_%-]"
_LETTERS = re.compile(f"{_LETTER}+")
# as MIME breaks lines
_LINES = (64, 76)
_BREAK = re.compile(rf"\r?\n(?={_LETTER})")
_URL = re.compile(
    rf"(?P<kept>)data:(?P<kind>{_KIND.pattern})?(?:;[\w.+-]{{1,100}}=[\w.+-]{{1,100}}){{0,9}};base64,"
)
# in texts which are JSON themselves, as the result of a tool is
_FIELD = re.compile(r'(?P<kept>"(?:data|b64_json)": ?")')
# what is shorter may be a word, where nothing says what it is
_LEAST = 256
_LEAST_IN_PROSE = 24

_STARTS = {
    b"\x89PNG": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF": "application/pdf",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"OggS": "audio/ogg",
    b"fLaC": "audio/flac",
}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_UNKNOWN = "application/octet-stream"
# letters looked at and decoded at once: other threads need not wait for a whole film
_STEP = 1 << 16


def described(data: bytes | bytearray, kind: str | None = None) -> str:
    """What is recorded of some bytes: their kind (by how they begin, if not given), number and hash.

    >>> described(b"GIF89a")[:32]
    '[image/gif, 6 bytes, sha256:610f'
    """
    return _told(kind or _kind_of(data), len(data), sha256(data).hexdigest())


def in_text(text: str) -> str:
    """The text with what each base64 data URL in it holds in its place, and the data of media in JSON.

    >>> in_text("![a dot](data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=)")[:38]
    '![a dot]([image/gif, 23 bytes, sha256:'
    """
    if ";base64," in text:
        text = _without(text, _URL, _LEAST_IN_PROSE)
    if len(text) > _LEAST and '":' in text:
        text = _without(text, _FIELD, _LEAST)
    return text


def in_part(part: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A part of a message or of an answer, with what its base64 fields hold in their place.

    >>> in_part({"type": "base64", "media_type": "image/png", "data": "iVBORw=="})["data"][:28]
    '[image/png, 4 bytes, sha256:'
    >>> in_part({"data": "tea", "city": "Ur"})
    {'data': 'tea', 'city': 'Ur'}
    """
    if _FIELDS.isdisjoint(part) or _type_of(part) == "text":
        return part
    fields = [field for field in part if field in _FIELDS]
    kind = _kind_told(part)
    told = _type_of(part) == "base64" or (kind is not None and kind.startswith(_MEDIA))
    least = 1 if told else _LEAST
    return {**part, **{field: _of_field(part[field], kind, least) for field in fields}}


def address_of(part: Any) -> str | None:
    """The address of an image in an answer, a data URL where it is in the answer itself; None without one.

    >>> address_of({"type": "image_url", "image_url": {"url": "https://host/dot.png"}})
    'https://host/dot.png'
    >>> address_of({"type": "image_generation_call", "result": "iVBORw=="})
    'data:;base64,iVBORw=='
    """
    url = field_of(part, "image_url")
    url = url if isinstance(url, str) else field_of(url, "url")
    if isinstance(url, str):
        return url or None
    source = field_of(part, "source") or part
    data = next((data for name in _DRAWN if isinstance(data := field_of(source, name), str) and data), None)
    return data and f"data:{name_of(field_of(source, 'media_type')) or ''};base64,{data}"


def has_media(messages: Any) -> bool:
    """Whether messages have parts that are no text, and may be large.

    >>> has_media([{"role": "user", "content": "Hi"}]), has_media([{"content": [{"type": "image_url"}]}])
    (False, True)
    """
    return type(messages) is list and any(
        type(part) is not dict or _type_of(part) not in _TEXTS
        for each in messages
        if type(each) is dict and type(each.get("content")) is list
        for part in each["content"]
    )


def may_be_in(json_text: str) -> bool:
    """Whether there may be media in a value that reads so in JSON, without blanks between its tokens.

    >>> may_be_in('[{"role":"user","content":"Hi"}]'), may_be_in('[{"input_audio":{"data":"UklG"}}]')
    (False, True)
    """
    return any(mark in json_text for mark in _MARKS)


def _of_field(value: Any, kind: str | None, least: int) -> Any:
    if isinstance(value, str) and len(value) >= least and _end(value, 0) == len(value.rstrip()):
        return _of_base64(value, kind)
    return value


def _type_of(part: Mapping[Any, Any]) -> str:
    # what is no text may raise when it is compared with one
    kind = part.get("type")
    return kind if type(kind) is str else ""


def _kind_told(part: Mapping[Any, Any]) -> str | None:
    for name in _KINDS:
        if isinstance(kind := part.get(name), str) and _KIND.fullmatch(kind):
            return kind
    audio = part.get("format")
    return f"audio/{audio}" if isinstance(audio, str) and audio in _AUDIO else None


def _without(text: str, head: re.Pattern[str], least: int) -> str:
    """The text without the base64 after each head, piece by piece, so that other threads never wait long."""
    told, done, at = [], 0, 0
    while found := head.search(text, at):
        at = _end(text, found.end())
        is_whole = not found.start() and at == len(text.rstrip())
        if at - found.end() >= (1 if is_whole else least):
            kind = found.groupdict().get("kind")
            told += [text[done : found.end("kept")], _of_base64(text[found.end() : at], kind)]
            done = len(text) if is_whole else at
    return "".join((*told, text[done:])) if told else text


def _end(text: str, at: int) -> int:
    """Where the base64 that begins there ends."""
    while True:
        line = at
        while found := _LETTERS.match(text, at, at + _STEP):
            at = found.end()
        after = _BREAK.match(text, at) if at - line in _LINES else None
        if after is None:
            break
        at = after.end()
    return min(at + 2, len(text)) if text[at : at + 2] == "==" else at + text.startswith("=", at)


def _of_base64(text: str, kind: str | None) -> str:
    """What base64 text holds; of text that is none after all, its own letters are counted."""
    letters = (unquote(text) if "%" in text else text).rstrip("=\r\n")
    hashed, size, start, left = sha256(), 0, b"", ""
    try:
        for at in range(0, len(letters), _STEP):
            left += "".join(letters[at : at + _STEP].split()).replace("-", "+").replace("_", "/")
            many = len(left) // 4 * 4
            data = a2b_base64(left[:many])
            if at + _STEP >= len(letters):
                data += a2b_base64(f"{left[many:]}==")
            hashed.update(data)
            size, start, left = size + len(data), start or data[:16], left[many:]
    except ValueError:
        return described(text.encode(), kind or _UNKNOWN)
    return _told(kind or _kind_of(start), size, hashed.hexdigest())


def _kind_of(start: bytes | bytearray) -> str:
    if start.startswith(b"RIFF"):
        return _RIFF.get(bytes(start[8:12]), _UNKNOWN)
    if start[4:8] == b"ftyp":
        return "video/mp4"
    return next((kind for head, kind in _STARTS.items() if start.startswith(head)), _UNKNOWN)


def _told(kind: str, size: int, digest: str) -> str:
    return f"[{kind}, {size} bytes, sha256:{digest}]"
