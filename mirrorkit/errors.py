"""Everything mirrorkit raises on purpose.

    MirrorError
    ├── ConfigError        a session cannot be built from what was given (also a ValueError)
    ├── UnsupportedCall    a Router method that is not mirrored (also an AttributeError)
    ├── SessionClosed      a call on a session after close()
    ├── LoopRunning        a blocking wait where only `await` can work
    ├── LabelError         a label that cannot be set (also a ValueError)
    ├── RecordingError     a file or a frame that is no recording (also a ValueError)
    └── CompareError       a comparison that cannot be made from this frame (also a ValueError)

What the primary model raises is never wrapped: the caller gets LiteLLM's own exception.
"""


class MirrorError(Exception):
    """The root of mirrorkit's own errors."""


class ConfigError(MirrorError, ValueError):
    """A session cannot be built from what was given."""


class UnsupportedCall(MirrorError, AttributeError):
    """A Router method that mirrorkit does not mirror."""


class SessionClosed(MirrorError):
    """A call on a session that was closed."""


class LoopRunning(MirrorError):
    """A blocking wait in a thread whose event loop is running, where only `await` can work."""


class LabelError(MirrorError, ValueError):
    """A label that cannot be set: there is no such pair, or no such preference."""


class RecordingError(MirrorError, ValueError):
    """A file or a frame that is no recording."""


class CompareError(MirrorError, ValueError):
    """A comparison that cannot be made from this frame."""


class MirrorWarning(UserWarning):
    """Something in the background needs the user's attention; said once per session and kind."""
