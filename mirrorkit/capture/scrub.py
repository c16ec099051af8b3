"""What may be written down: JSON text without secrets and media, redacted as asked, storable anywhere."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import count
from typing import Any

from mirrorkit.capture import media
from mirrorkit.capture.keys import MASK, is_key, without_key, without_shapes

_TOO_DEEP = "[too deep]"

# Whole words of a name, so that `max_tokens` is no token and `prompt_cache_key` no key.
_SECRET_NAME = re.compile(
    r"^key$|(api|access|secret|private|subscription|account|signing|oci)[_-]?key($|[_-])"
    r"|(^|[_-])(secret|password|passwd|credentials?|authorization|auth|cookies?|token|headers?)($|[_-])",
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)$", re.IGNORECASE)
_HEADER_WORDS = ("auth", "key", "token", "secret", "cookie", "password", "credential")
_HEADERS = ("headers", "extra_headers", "default_headers")
_SHORTEST_SECRET = 6
# what has texts and schemas in it, and no credentials
_NO_PLACES = frozenset((
    "messages", "input", "metadata", "litellm_metadata", "function", "input_schema", "response_format",
))  # fmt: skip
_MOST_PLACES = 1_000
_DEEPEST = 60
_MOST_NODES = 100_000
_LONGEST_INT_BITS = 14_000


def is_secret_name(name: object) -> bool:
    """Whether a parameter of this name holds a credential or a header.

    >>> [is_secret_name(n) for n in ("api_key", "extra_headers", "aws_session_token", "max_tokens")]
    [True, True, True, False]
    """
    return isinstance(name, str) and _is_secret_name(name)


# the same few names come with every request
@lru_cache(maxsize=4_096)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable of this name holds a credential.

    >>> [is_secret_variable(n) for n in ("OPENAI_API_KEY", "AWS_SESSION_TOKEN", "KEYBOARD")]
    [True, True, False]
    """
    return _SECRET_VARIABLE.search(name) is not None


def is_credential_header(name: object) -> bool:
    """Whether an HTTP header of this name may hold a credential.

    >>> [is_credential_header(n) for n in ("Authorization", "apikey", "X-Tenant")]
    [True, True, False]
    """
    try:
        text = str(name).lower()
    except Exception:  # whatever a foreign __str__ raises
        return True
    return any(word in text for word in _HEADER_WORDS)


def secrets_in(params: Mapping[str, Any]) -> frozenset[str]:
    """The values of a mapping's secret parameters, so that they can be masked wherever they turn up.

    Of headers only those that may hold a credential, and of "Bearer TOKEN" the token too. Inside other
    parameters, such as a tool's, a secret is a text: what is under the name may be a schema.

    >>> found = secrets_in({"api_key": "sk-12345", "tools": [{"authorization": "Bearer abc123"}]})
    >>> sorted(found)
    ['Bearer abc123', 'abc123', 'sk-12345']
    """
    found: set[str] = set()
    left: list[Any] = [params]
    for _ in range(_MOST_PLACES):
        if not left:
            break
        place = left.pop()
        if isinstance(place, list):
            left += [each for each in place if type(each) in (list, dict)]
            continue
        for name, value in place.items():
            # by types alone: what a foreign object says of itself may raise
            if type(name) is not str:
                continue
            if name in _HEADERS and issubclass(type(value), dict):
                value = {k: v for k, v in value.items() if is_credential_header(k)}
            elif not is_secret_name(name) or not (place is params or issubclass(type(value), str)):
                if type(value) in (list, dict) and name not in _NO_PLACES:
                    left.append(value)
                continue
            for text in _texts(value):
                found |= {text, text.rpartition(" ")[2]}
    return frozenset(text for text in found if len(text) >= _SHORTEST_SECRET)


class Scrubber:
    """Turns values into text that is safe to record.

    Images, audio and files are told by kind, size and hash, unless `keep_media`. Known secrets are masked
    where they are keys (see `mirrorkit.capture.keys`), then the user's `redact` sees each text. A `redact`
    that raises or gives no string leaves null, never the bare text; `on_fault` hears of it.
    """

    def __init__(
        self,
        secrets: Iterable[str] = (),
        redact: Callable[[str], str] | None = None,
        on_fault: Callable[[BaseException], None] = lambda _: None,
        *,
        keep_media: bool = False,
    ) -> None:
        keys = {secret for secret in secrets if is_key(secret)}
        for _ in range(2):
            # in JSON, and in JSON inside of it, a PEM key has other line breaks
            keys |= {_dumps(key)[1:-1] for key in keys}
        # longest first: a key that holds another must go whole
        self._keys = tuple(sorted(keys, key=len, reverse=True))
        # as they read in JSON text
        self._quoted = tuple(_dumps(key)[1:-1] for key in self._keys)
        self._redact = redact
        self._on_fault = on_fault
        self._keep_media = keep_media
        self._last: tuple[frozenset[str], Scrubber] | None = None

    def knowing(self, secrets: frozenset[str]) -> "Scrubber":
        """The same scrubber, knowing more secrets (those of one request)."""
        if not secrets:
            return self
        # one caller sends many requests with one key
        last = self._last
        if last is None or last[0] != secrets:
            known = (*self._keys, *secrets)
            last = secrets, Scrubber(known, self._redact, self._on_fault, keep_media=self._keep_media)
            self._last = last
        return last[1]

    def text(self, value: str | None) -> str | None:
        """A text, without secrets and media and redacted; None stays None."""
        return None if value is None else self._redacted(self._safe(value))

    def error(self, value: str | None) -> str | None:
        """An error's text: as `text`, and what looks like a credential is masked too."""
        return None if value is None else self._redacted(without_shapes(self._safe(value)))

    def line(self, value: str | None, most: int = 400) -> str:
        r"""An error's text for a warning: on one line, short, and with nothing in it that steers a terminal.

        >>> Scrubber().line("no\n access\x1b[0m with sk-abcdefgh12345678")
        'no access [0m with [secret]'
        """
        text = "".join(sign if sign.isprintable() else " " for sign in (self.error(value) or "")[: 4 * most])
        text = " ".join(text.split())
        return text if len(text) <= most else f"{text[: most - 1]}…"

    def _safe(self, value: str) -> str:
        return self._unsecret(value if self._keep_media else media.in_text(value))

    def _unsecret(self, value: str) -> str:
        for key in self._keys:
            if key in value:
                value = without_key(value, key)
        return value

    def _redacted(self, value: str) -> str | None:
        if self._redact is not None:
            try:
                redacted = self._redact(value)
            except Exception as fault:
                # not its message, which may quote the text
                self._on_fault(RuntimeError(f"redact raised {type(fault).__name__}"))
                return None
            if not isinstance(redacted, str):
                self._on_fault(TypeError(f"redact gave {type(redacted).__name__}, not a str"))
                return None
            value = redacted
        return _storable(value)

    def json(self, value: Any) -> str | None:
        """A value as JSON text, each string in it scrubbed; None stays None."""
        if value is None:
            return None
        if self._redact is None and not media.has_media(value):
            text = _plain_json(value)
            if text is not None and self._is_safe(text):
                # as nearly always: one pass in C
                return text
        return _dumps(self._plain(value, _DEEPEST, count(), by_name=False))

    def _is_safe(self, json_text: str) -> bool:
        return (self._keep_media or not media.may_be_in(json_text)) and not any(
            key in json_text for key in self._quoted
        )

    def json_text(self, value: str | None) -> str | None:
        """JSON text with each string in it scrubbed; text that is no JSON is scrubbed as text."""
        if value is None:
            return None
        try:
            return self.json(json.loads(value))
        except (ValueError, RecursionError):
            return self.text(value)

    def params(self, params: Mapping[str, Any]) -> str | None:
        """A request's parameters as JSON text: its secret ones left out, secrets inside the others masked."""
        kept = {k: v for k, v in params.items() if not is_secret_name(k)}
        return _dumps(self._plain(kept, _DEEPEST, count(), by_name=True))

    def _plain(self, value: Any, depth: int, nodes: Iterator[int], by_name: bool) -> Any:
        try:
            return self._parts(value, depth, nodes, by_name)
        except Exception:  # whatever a foreign object raises that is looked at
            return _named(value)

    def _parts(self, value: Any, depth: int, nodes: Iterator[int], by_name: bool) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return _number(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes | bytearray) and not self._keep_media:
            return media.described(value)
        # a value that holds itself, or one value in very many places
        if depth == 0 or next(nodes) > _MOST_NODES:
            return _TOO_DEEP
        if isinstance(value, Mapping):
            if not self._keep_media:
                value = media.in_part(value)
            return {
                _storable(self._unsecret(_key(k))): _masked(v, depth, nodes)
                if by_name and is_secret_name(k)
                else self._plain(v, depth - 1, nodes, by_name)
                for k, v in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(v, depth - 1, nodes, by_name) for v in value]
        return self._plain(_as_data(value), depth - 1, nodes, by_name)


def _masked(value: Any, depth: int, nodes: Iterator[int]) -> Any:
    # A tool's JSON schema may well have a property called "token": its shape is no secret, its texts may be.
    try:
        if value is None or isinstance(value, bool | int | float):
            return _number(value)
        if depth and next(nodes) <= _MOST_NODES:
            if isinstance(value, Mapping):
                return {_storable(_key(k)): _masked(v, depth - 1, nodes) for k, v in value.items()}
            if isinstance(value, list | tuple):
                return [_masked(v, depth - 1, nodes) for v in value]
    except Exception:  # whatever a foreign object raises that is looked at
        return MASK
    return MASK


def _number(value: bool | float | None) -> bool | float | str | None:
    # JSON has no NaN and no infinity, and Python writes no integer of thousands of digits
    if isinstance(value, float) and value - value != 0.0:
        return str(value)
    if isinstance(value, int) and value.bit_length() > _LONGEST_INT_BITS:
        return f"<integer of {value.bit_length()} bits>"
    return value


def _key(key: object) -> str:
    """A key as JSON has it."""
    try:
        return _dumps(_number(key)) if key is None or isinstance(key, bool | int) else str(key)
    except Exception:  # whatever a foreign __str__ raises
        return _named(key)


def _plain_json(value: Any) -> str | None:
    """JSON text of what is plain data and can be stored as it is; None for anything else."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except Exception:  # it is no plain data, and a foreign object in it raises what it likes
        return None
    return text


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _as_data(value: Any) -> Any:
    """A foreign object as plain data: a pydantic model or class by its fields, anything else by its type."""
    for method in ("model_json_schema",) if isinstance(value, type) else ("model_dump", "_asdict"):
        try:
            dump = getattr(value, method, None)
            if callable(dump):
                return dump()
        except Exception:  # whatever a foreign class raises
            break
    return _named(value)


def _named(value: Any) -> str:
    """What stands for a value that cannot be read."""
    kind = value if issubclass(type(value), type) else type(value)
    return f"<{kind.__module__}.{kind.__qualname__}>"


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, which may hold itself."""
    left, seen = [value], dict[int, Any]()
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        with suppress(Exception):  # whatever a foreign object raises that is looked at
            if isinstance(value, str):
                yield value
            elif isinstance(value, Mapping):
                left += value.values()
            elif isinstance(value, list | tuple):
                left += value
            elif hasattr(value, "get_secret_value"):
                yield str(value.get_secret_value())


def _storable(text: str) -> str:
    # Lone surrogates are legal in a Python string and in no file.
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text
