r"""What a key looks like, and how it is taken out of a text.

The rule, for all that is recorded: a credential that is known is masked wherever it stands if it has a key's
length (16 characters or more), and as a whole word if it has a key's shape (8 or more, letters and digits).
Any other is a word that a local server takes for a key, such as "ollama" or "not-needed", and part of the
language of prompts and answers. In an error's text, where providers echo keys, what looks like a key is
masked though nobody knows it, and so is whatever follows "API key provided:" and the like.
"""

import re

MASK = "[secret]"

_LENGTH = 16
_SHORTEST = 8
_LETTER_AND_DIGIT = re.compile(r"(?=.*[^\W\d_])(?=.*\d)", re.DOTALL)

# What providers echo in their error messages.
_SHAPE = re.compile(
    r"(?i:\bbearer\s+)[\w.~+/=-]{8,}"
    r"|\b(?:sk|pk|rk|xai|gsk|hf|ghp|key)[-_][\w*-]{8,}"
    r"|\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
# The words before a key, with the quotes and escapes around them, and the key.
_INTRODUCED = re.compile(
    r"""(?xi)
    (
        (?: (?<![^\W_])(?:api|access|secret|auth|subscription)[\s_-]?(?:key|token) | \bclient[\s_-]?secret
          | \bpassw(?:or)?d | \b(?:proxy-)?authorization | (?<=[?&])(?:key|token|sig|signature)
        )
        [\\"'`]{0,4} (?:\s\(\w{1,20}\))? (?:\s(?:provided|passed|given|received|used|is|was))?
        (?: \s?[:=]\s? | \s(?=[\\"'`]) )
        [\\"'`<(]{0,4} (?:(?:bearer|basic|token)\s)?
    )
    (?! (?:none|null|undefined|true|false|bearer|basic|token)\b )
    [^\s\\"'`,;&<>()\[\]{}]* [^\s\\"'`,;&<>()\[\]{}.:!?]
    """
)


def is_key(credential: str) -> bool:
    """Whether a known credential has a key's length or shape, and is to be masked in texts.

    >>> [is_key(known) for known in ("sk-1a2b3c", "9f8e7d6c5b4a3210", "ollama", "not-needed", "dummy-key")]
    [True, True, False, False, False]
    """
    long_enough = len(credential) >= _SHORTEST
    return len(credential) >= _LENGTH or (long_enough and bool(_LETTER_AND_DIGIT.match(credential)))


def without_key(text: str, key: str) -> str:
    """The text with a known key masked: a long one wherever it stands, a short one as a whole word.

    >>> without_key("pass1234, mypass12345", "pass1234")
    '[secret], mypass12345'
    """
    if len(key) >= _LENGTH:
        return text.replace(key, MASK)
    return re.sub(rf"(?<!\w){re.escape(key)}(?!\w)", MASK, text)


def without_shapes(text: str) -> str:
    """An error's text with what looks like a key masked, known or not, and what is said to be one.

    >>> without_shapes("Incorrect API key provided: anything. You sent Bearer abcd1234.")
    'Incorrect API key provided: [secret]. You sent [secret]'
    """
    return _INTRODUCED.sub(rf"\1{MASK}", _SHAPE.sub(MASK, text))
