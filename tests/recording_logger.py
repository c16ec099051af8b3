"""A real LiteLLM logger, which keeps what it gets of each call."""

import asyncio
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """What a logger gets of one call."""

    ok: bool
    kwargs: dict[str, Any]

    @property
    def id(self) -> str:
        """LiteLLM's id of the call."""
        return str(self.kwargs["litellm_call_id"])

    @property
    def model(self) -> str:
        """The provider's name of the model."""
        return str(self.kwargs["model"])

    @property
    def payload(self) -> dict[str, Any]:
        """LiteLLM's StandardLoggingPayload."""
        payload: dict[str, Any] = self.kwargs["standard_logging_object"]
        return payload

    @property
    def metadata(self) -> dict[str, Any]:
        """The call's metadata as the Router has it."""
        metadata: dict[str, Any] = self.kwargs["litellm_params"]["metadata"]
        return metadata

    @property
    def mark(self) -> Any:
        """LiteLLM's own mark of a mirrored call; None where there is none."""
        return self.payload["metadata"].get("is_silent_experiment")


class RecordingLogger(CustomLogger):
    """Keeps every success and failure."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[LoggedCall] = []
        self._made_at = datetime.now()
        self._news = threading.Condition()

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._keep(True, kwargs, start_time)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._keep(False, kwargs, start_time)

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._keep(True, kwargs, start_time)

    async def async_log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._keep(False, kwargs, start_time)

    def _keep(self, ok: bool, kwargs: Any, started_at: datetime) -> None:
        if started_at < self._made_at:
            return  # LiteLLM carries what a loop has not logged over to the next, perhaps of another test
        call = LoggedCall(ok, kwargs)
        with self._news:
            # of a blocking stream of the responses API LiteLLM logs the end twice
            if (call.id, ok) not in {(each.id, each.ok) for each in self.calls}:
                self.calls.append(call)
                self._news.notify_all()

    def of(self, drive: Any, model: str, count: int = 1) -> list[LoggedCall]:
        """The calls of a model, once so many of them have been logged."""

        def wait() -> list[LoggedCall]:
            with self._news:
                enough = self._news.wait_for(lambda: len(self._of(model)) >= count, PATIENCE_S)
                assert enough, [call.model for call in self.calls]
                return self._of(model)

        # awaited calls are logged on their loop, which must run meanwhile
        return drive.run(asyncio.to_thread(wait)) if drive.is_async else wait()

    def _of(self, model: str) -> list[LoggedCall]:
        return [call for call in self.calls if call.model == model]
