"""The calling half of a session: the Router's own methods, mirrored or passed on."""

from abc import ABC, abstractmethod
from typing import Any

from mirrorkit.capture.batch import OnMirrored
from mirrorkit.capture.mirror import Mirror
from mirrorkit.capture.router.adapter import ENTRY_POINTS, CallType


class RouterCalls(ABC):
    """What a session can be called by: as the Router is called, with the Router's own answers."""

    _mirror: Mirror

    @property
    def router(self) -> Any:
        """The Router itself, whose calls nobody mirrors while a session is open.

        Deployments that are changed on it, and not by `session.apply`, are taken over with the session's next
        call.
        """
        return self._mirror.adapter.router

    def completion(self, model: str, messages: Any, **kwargs: Any) -> Any:
        """`Router.completion`, mirrored: a chat answer, or with `stream=True` an iterator of its chunks."""
        return self._call("completion", {"model": model, "messages": messages, **kwargs})

    async def acompletion(self, model: str, messages: Any, **kwargs: Any) -> Any:
        """`Router.acompletion`, mirrored."""
        return await self._acall("completion", {"model": model, "messages": messages, **kwargs})

    def embedding(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.embedding`, mirrored."""
        return self._call("embedding", {"model": model, "input": input, **kwargs})

    async def aembedding(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.aembedding`, mirrored."""
        return await self._acall("embedding", {"model": model, "input": input, **kwargs})

    def responses(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.responses`, mirrored."""
        return self._call("responses", {"model": model, "input": input, **kwargs})

    async def aresponses(self, model: str, input: Any, **kwargs: Any) -> Any:
        """`Router.aresponses`, mirrored."""
        return await self._acall("responses", {"model": model, "input": input, **kwargs})

    async def aanthropic_messages(self, model: str, messages: Any, **kwargs: Any) -> Any:
        """`Router.aanthropic_messages`, mirrored: a message, or with `stream=True` its bytes as they come."""
        return await self._acall("anthropic_messages", {"model": model, "messages": messages, **kwargs})

    async def anthropic_messages(self, model: str, messages: Any, **kwargs: Any) -> Any:
        """The same by its other name, which is to be awaited too, as the Router's is."""
        return await self.aanthropic_messages(model, messages, **kwargs)

    def text_completion(self, *args: Any, **kwargs: Any) -> Any:
        """`Router.text_completion`, not mirrored; the funnel counts it."""
        self._check_open()
        return self._mirror.forward("text_completion", args, kwargs)

    async def atext_completion(self, *args: Any, **kwargs: Any) -> Any:
        """`Router.atext_completion`, not mirrored; the funnel counts it."""
        self._check_open()
        return await self._mirror.aforward("text_completion", args, kwargs)

    async def arerank(self, *args: Any, **kwargs: Any) -> Any:
        """`Router.arerank`, not mirrored; the funnel counts it."""
        self._check_open()
        return await self._mirror.aforward("rerank", args, kwargs)

    def apply(self, changes: Any) -> Any:
        """`Router.apply`: changes of deployments and settings, mirrored rightly at once."""
        result = self._mirror.adapter.entry.method("apply")(changes)
        self._mirror.refresh()
        return result

    async def aapply(self, changes: Any) -> Any:
        """The same, awaiting."""
        result = await self._mirror.adapter.entry.method("aapply")(changes)
        self._mirror.refresh()
        return result

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *ENTRY_POINTS})

    def __getattr__(self, name: str) -> Any:
        mirror = self.__dict__.get("_mirror")
        if mirror is None or name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return mirror.adapter.member(name)

    def _call(
        self, call_type: CallType, kwargs: dict[str, Any], on_mirrored: OnMirrored | None = None
    ) -> Any:
        self._check_open()
        return self._mirror.call(call_type, kwargs, on_mirrored)

    async def _acall(
        self, call_type: CallType, kwargs: dict[str, Any], on_mirrored: OnMirrored | None = None
    ) -> Any:
        self._check_open()
        return await self._mirror.acall(call_type, kwargs, on_mirrored)

    @abstractmethod
    def _check_open(self) -> None:
        """Raise SessionClosed after `close()`."""
