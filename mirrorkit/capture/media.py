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
# looked for in texts too that are JSON themselves, as the result of a tool is
_INNER = ("data", "b64_json")
# what there is in the JSON text of all of these
_MARKS = ("base64", 'data":', r"data\":", "b64", '"result":')
_TEXTS = ("text", "input_text", "output_text")

_LETTER = r"[A-Za-z0-9+/_%-]"
# on one line, or on lines as MIME breaks them
_BASE64 = rf"(?:(?:{_LETTER}{{64}}|{_LETTER}{{76}})\r?\n)*{_LETTER}+={{0,2}}"
_WHOLE = re.compile(rf"{_BASE64}\s*")
_PARAMETERS = r"(?:;[\w.+-]{1,100}=[\w.+-]{1,100}){0,9}"
_URL = re.compile(rf"data:({_KIND.pattern})?{_PARAMETERS};base64,({_BASE64})")
# what is shorter may be a word, where nothing says what it is
_LEAST = 256
_LEAST_IN_PROSE = 24
_IN_JSON = re.compile(rf'("(?:{"|".join(_INNER)})": ?")({_LETTER}{{{_LEAST},}}={{0,2}})(?=")')

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
# letters decoded at once, a multiple of four: other threads need not wait for a whole film
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
        whole = _URL.fullmatch(text.rstrip())
        text = _of_base64(whole[2], whole[1]) if whole else _URL.sub(_of_url, text)
    if len(text) > _LEAST and '":' in text:
        text = _IN_JSON.sub(lambda found: found[1] + _of_base64(found[2], None), text)
    return text


def in_part(part: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A part of a message or of an answer, with what its base64 fields hold in their place.

    >>> in_part({"type": "base64", "media_type": "image/png", "data": "iVBORw=="})["data"][:28]
    '[image/png, 4 bytes, sha256:'
    >>> in_part({"data": "tea", "city": "Ur"})
    {'data': 'tea', 'city': 'Ur'}
    """
    if _FIELDS.isdisjoint(part) or part.get("type") == "text":
        return part
    fields = [field for field in part if field in _FIELDS]
    kind = _kind_told(part)
    told = part.get("type") == "base64" or (kind is not None and kind.startswith(_MEDIA))
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
        type(part) is not dict or part.get("type") not in _TEXTS
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
    if isinstance(value, str) and len(value) >= least and _WHOLE.fullmatch(value):
        return _of_base64(value, kind)
    return value


def _kind_told(part: Mapping[Any, Any]) -> str | None:
    for name in _KINDS:
        if isinstance(kind := part.get(name), str) and _KIND.fullmatch(kind):
            return kind
    audio = part.get("format")
    return f"audio/{audio}" if isinstance(audio, str) and audio in _AUDIO else None


def _of_url(found: re.Match[str]) -> str:
    return found[0] if len(found[2]) < _LEAST_IN_PROSE else _of_base64(found[2], found[1])


def _of_base64(text: str, kind: str | None) -> str:
    """What base64 text holds; of text that is none after all, its own letters are counted."""
    letters = "".join(unquote(text).split()).rstrip("=").replace("-", "+").replace("_", "/")
    hashed, size, start = sha256(), 0, b""
    try:
        for at in range(0, len(letters), _STEP):
            data = a2b_base64(letters[at : at + _STEP] + "==")
            hashed.update(data)
            size += len(data)
            start = start or data[:16]
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
