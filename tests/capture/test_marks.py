"""Silent calls carry LiteLLM's own mark of a mirrored call for each logger, besides our tags and ids.

With a real CustomLogger, Prometheus and Langfuse, which reads OTLP here; in this process, and in a child.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import litellm
import prometheus_client
import pytest
from litellm.integrations.langfuse.langfuse_prompt_management import LangfusePromptManagement
from litellm.integrations.langfuse.langfuse_sdk import release_langfuse_tracing
from litellm.integrations.prometheus import PrometheusLogger
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

import mirrorkit as mk
from call_kinds import KINDS, Kind, deployments, each
from mirrorkit.capture.router.entry_points import mirrored_call
from mirrorkit.simulator import Reply, SimulatedModel, Simulator
from recording_logger import RecordingLogger

MARK = "is_silent_experiment"
LABEL = f"metadata_{MARK}"
AWAITED = tuple(kind for kind in KINDS if "async" in kind.ways)
PATIENCE_S = 300


@dataclass(frozen=True, slots=True)
class Observation:
    """What Langfuse gets of one call."""

    id: str
    trace: str
    attributes: dict[str, Any]

    @property
    def model(self) -> str:
        return str(self.attributes["langfuse.observation.model.name"]).rpartition("/")[2]

    def metadata(self, name: str) -> Any:
        return self.attributes.get(f"langfuse.observation.metadata.{name}")


class Langfuse:
    """The part of a Langfuse server that takes observations."""

    def __init__(self) -> None:
        self._posted: list[bytes] = []
        posted = self._posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def of(self, model: str) -> list[Observation]:
        """The observations of a model's calls."""
        return [each for each in self._observations() if each.model == model]

    def _observations(self) -> Iterator[Observation]:
        for body in self._posted:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    attributes = {each.key: _plain(each.value) for each in span.attributes}
                    if "langfuse.observation.model.name" in attributes:
                        yield Observation(span.span_id.hex(), str(UUID(span.trace_id.hex())), attributes)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    return getattr(value, kind)


@pytest.fixture(scope="module")
def langfuse() -> Iterator[Langfuse]:
    langfuse = Langfuse()
    thread = threading.Thread(target=langfuse.server.serve_forever, daemon=True)
    thread.start()
    yield langfuse
    langfuse.server.shutdown()
    langfuse.server.server_close()
    thread.join()


@pytest.fixture
def logger(litellm_state: Any) -> RecordingLogger:
    logger = RecordingLogger()
    litellm_state.callbacks = [logger]
    return logger


def ask_twice(sim: Any, drive: Any, kind: Kind, session: mk.MirrorSession, **kwargs: Any) -> None:
    """Make a call whose silent call answers, and one whose silent call fails."""
    sim.script(kind.silent, Reply(), Reply(fault="400"))
    for _ in range(2):
        kind.ask(drive, session, **kwargs)
        drive.drain(session)


class TestTheStandardPayload:
    @each(*KINDS)
    def test_a_silent_call_has_litellms_mark_and_our_tag_and_ids_whether_it_answers_or_fails(
        self, sim: Any, drive: Any, logger: RecordingLogger, kind: Kind
    ) -> None:
        with mk.MirrorSession(deployments(sim)) as session:
            ask_twice(sim, drive, kind, session, **{kind.metadata: {"tags": ["mine"]}})
            primaries, silents = logger.of(drive, kind.primary, 2), logger.of(drive, kind.silent, 2)
            pairs = session.frame.rows(named=True)
        assert [call.ok for call in silents] == [True, False]
        assert [call.mark for call in silents] == [True, True]
        assert [call.mark for call in primaries] == [None, None]
        for pair, primary, silent in zip(pairs, primaries, silents, strict=True):
            assert silent.payload["request_tags"] == ["mine", MARK]
            assert silent.payload["trace_id"] == primary.payload["trace_id"] == pair["trace_id"]
            ids = silent.payload["metadata"]["spend_logs_metadata"]
            assert ids["mirrorkit_pair_id"] == pair["pair_id"]
            assert ids["mirrorkit_request_id"] == pair["request_id"]
            assert ids["mirrorkit_arm"] == kind.silent_group

    @each(*(kind for kind in KINDS if kind.stream))
    def test_a_stream_that_breaks_amid_its_answer_has_it_too(
        self, sim: Any, drive: Any, logger: RecordingLogger, kind: Kind
    ) -> None:
        sim.script(kind.silent, Reply(text="one two three", cut_after_chunks=2))
        # without retries, as the next attempt would succeed
        with mk.MirrorSession(deployments(sim), silent_retries=0) as session:
            kind.ask(drive, session)
            drive.drain(session)
            (silent,) = logger.of(drive, kind.silent)
        assert (silent.ok, silent.mark) == (False, True)

    def test_each_attempt_has_it(self, sim: Any, drive: Any, logger: RecordingLogger) -> None:
        sim.script("gpt-4o-mini", Reply(fault="500"))
        with mk.MirrorSession(deployments(sim), silent_retries=1) as session:
            drive.chat(session)
            drive.drain(session)
            attempts = logger.of(drive, "gpt-4o-mini", 2)
        assert [(attempt.ok, attempt.mark) for attempt in attempts] == [(False, True), (True, True)]

    def test_a_control_call_has_it_and_the_primary_of_the_same_model_has_not(
        self, sim: Any, drive: Any, logger: RecordingLogger
    ) -> None:
        with mk.MirrorSession(deployments(sim, silent_model=None), control=1.0) as session:
            drive.chat(session)
            drive.drain(session)
            calls = logger.of(drive, "gpt-4o", 2)
        assert [call.mark for call in calls] == [None, True]

    def test_no_later_primary_has_it(self, sim: Any, drive: Any, logger: RecordingLogger) -> None:
        with mk.MirrorSession(deployments(sim)) as session:
            for _ in range(3):
                drive.chat(session)
                drive.drain(session)
            marks = [call.mark for call in logger.of(drive, "gpt-4o", 3)]
        assert marks == [None] * 3

    def test_a_caller_cannot_set_it(self, sim: Any, drive: Any, logger: RecordingLogger) -> None:
        with mk.MirrorSession(deployments(sim)) as session:
            drive.chat(session, metadata={MARK: True})
            drive.drain(session)
            assert logger.of(drive, "gpt-4o")[0].mark is None

    def test_what_a_logger_asks_for_itself_while_it_logs_a_silent_call_has_it_not(
        self, sim: Any, drive: Any, logger: RecordingLogger
    ) -> None:
        where = {"model": "openai/gpt-4.1", "api_base": sim.url, "api_key": sim.api_key}

        class Grader(RecordingLogger):
            def log_success_event(self, kwargs: Any, *args: Any, **more: Any) -> None:
                if kwargs["model"] == "gpt-4o-mini":
                    litellm.completion(messages=[{"role": "user", "content": "Was it good?"}], **where)

            async def async_log_success_event(self, kwargs: Any, *args: Any, **more: Any) -> None:
                if kwargs["model"] == "gpt-4o-mini":
                    await litellm.acompletion(messages=[{"role": "user", "content": "Was it good?"}], **where)

        litellm.callbacks = [Grader(), logger]
        with mk.MirrorSession(deployments(sim)) as session:
            drive.chat(session)
            drive.drain(session)
            assert logger.of(drive, "gpt-4o-mini")[0].mark is True
            assert logger.of(drive, "gpt-4.1")[0].mark is None


class TestTheContextThatMarks:
    """LiteLLM offers no public way to mark a call; this fails on the day that the private one goes."""

    def test_litellm_still_has_it_and_reads_the_mark_from_it(self) -> None:
        from litellm import _internal_context

        assert not _internal_context.in_mirrored_call()
        with mirrored_call():
            assert _internal_context.in_mirrored_call()
        assert not _internal_context.in_mirrored_call()

    def test_without_it_there_is_no_error_and_no_mark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("litellm._internal_context.mirrored_call")
        context: AbstractContextManager[None] = mirrored_call()
        assert isinstance(context, nullcontext)


@pytest.fixture
def prometheus(litellm_state: Any, logger: RecordingLogger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """LiteLLM's Prometheus logger, told to have the mark as a label; what `logger` has, it has had before."""
    monkeypatch.setattr(litellm, "custom_prometheus_metadata_labels", [f"metadata.{MARK}"])
    prometheus = PrometheusLogger()
    litellm_state.callbacks = [prometheus, logger]
    yield prometheus_client.REGISTRY
    for metric in vars(prometheus).values():
        if isinstance(metric, MetricWrapperBase):
            prometheus_client.REGISTRY.unregister(metric)


def counted(registry: Any, name: str, model: str) -> dict[str | None, float]:
    """How many calls of a model a Prometheus counter has, by their mark."""
    samples = [sample for metric in registry.collect() for sample in metric.samples if sample.name == name]
    return {s.labels.get(LABEL): s.value for s in samples if s.labels["model"] == model}


class TestPrometheus:
    @pytest.mark.parametrize(("drive", "kind"), [("async", k) for k in AWAITED], indirect=["drive"])
    def test_silent_calls_are_counted_apart_answers_and_failures(
        self, sim: Any, drive: Any, logger: RecordingLogger, prometheus: Any, kind: Kind
    ) -> None:
        with mk.MirrorSession(deployments(sim)) as session:
            ask_twice(sim, drive, kind, session)
            logger.of(drive, kind.primary, 2)
            logger.of(drive, kind.silent, 2)
        assert counted(prometheus, "litellm_requests_metric_total", kind.silent) == {"true": 1}
        assert counted(prometheus, "litellm_llm_api_failed_requests_metric_total", kind.silent) == {"true": 1}
        assert counted(prometheus, "litellm_requests_metric_total", kind.primary) == {"None": 2}

    @pytest.mark.parametrize("drive", ["sync"], indirect=True)
    def test_of_blocking_calls_it_counts_neither_side(
        self, sim: Any, drive: Any, logger: RecordingLogger, prometheus: Any
    ) -> None:
        with mk.MirrorSession(deployments(sim)) as session:
            drive.chat(session)
            drive.drain(session)
            logger.of(drive, "gpt-4o")
            logger.of(drive, "gpt-4o-mini")
        assert counted(prometheus, "litellm_requests_metric_total", "gpt-4o") == {}
        assert counted(prometheus, "litellm_requests_metric_total", "gpt-4o-mini") == {}


@pytest.mark.slow
class TestLangfuse:
    @each(*KINDS)
    def test_a_silent_calls_observation_has_the_mark_and_our_ids_in_the_primarys_trace(
        self,
        sim: Any,
        drive: Any,
        litellm_state: Any,
        logger: RecordingLogger,
        langfuse: Langfuse,
        kind: Kind,
    ) -> None:
        to_langfuse = LangfusePromptManagement("pk-test", "sk-test", langfuse.url)
        litellm_state.callbacks = [to_langfuse, logger]
        with mk.MirrorSession(deployments(sim)) as session:
            ask_twice(sim, drive, kind, session)
            logger.of(drive, kind.primary, 2)
            logger.of(drive, kind.silent, 2)
            pairs = session.frame.rows(named=True)
        to_langfuse.flush()
        release_langfuse_tracing(to_langfuse.tracing, grace_seconds=0)
        for pair, level in zip(pairs, ("DEFAULT", "ERROR"), strict=True):
            (primary,), (silent,) = (
                {each.id: each for each in langfuse.of(model) if each.trace == pair["trace_id"]}.values()
                for model in (kind.primary, kind.silent)
            )
            assert silent.metadata(MARK) is True
            assert primary.metadata(MARK) is None
            assert silent.attributes["langfuse.observation.level"] == level
            assert json.loads(silent.metadata("spend_logs_metadata"))["mirrorkit_pair_id"] == pair["pair_id"]


HANDLER = """
import json, os
from litellm.integrations.custom_logger import CustomLogger

class ToFile(CustomLogger):
    def keep(self, ok, kwargs):
        payload = kwargs["standard_logging_object"]
        line = {"process": os.getpid(), "ok": ok, "model": kwargs["model"], "tags": payload["request_tags"],
                "mark": payload["metadata"].get("is_silent_experiment"),
                "ids": payload["metadata"]["spend_logs_metadata"]}
        with open(os.environ["MARKS_FILE"], "a") as file:
            file.write(json.dumps(line) + "\\n")

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.keep(True, kwargs)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.keep(False, kwargs)

handler = ToFile()
"""
SCRIPT = """
import asyncio, json, os, sys
import litellm, handler_of_mine
import mirrorkit as mk
from call_kinds import KINDS

litellm.custom_prometheus_metadata_labels = ["metadata.is_silent_experiment"]
litellm.callbacks = [handler_of_mine.handler, "prometheus", "langfuse"]

class Awaiting:
    def __init__(self, runner):
        self.run = runner.run
    def call(self, session, name, **kwargs):
        return self.run(getattr(session, "a" + name)(**kwargs))
    def read(self, stream):
        async def read():
            return [chunk async for chunk in stream]
        return self.run(read())

with asyncio.Runner() as runner:
    with mk.MirrorSession(json.loads(sys.argv[1]), isolation="process") as session:
        for kind in KINDS:
            for _ in range(2):
                kind.ask(Awaiting(runner), session)
                runner.run(session.adrain())
    print(session.frame.select("silent_model", "pair_id").write_json())
"""


@dataclass(frozen=True, slots=True)
class ChildRun:
    """What a script left behind that asked for each kind of call twice, the second silent one failing."""

    process: int
    logged: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    metrics: Any


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, langfuse: Langfuse) -> ChildRun:
    folder = tmp_path_factory.mktemp("marks")
    (folder / "script.py").write_text(SCRIPT)
    (folder / "handler_of_mine.py").write_text(HANDLER)
    (folder / "metrics").mkdir()
    names = {name for kind in KINDS for name in (kind.primary, kind.silent)}
    quick = [SimulatedModel(name, ttft_s=0.002, token_s=0.0001, words=8) for name in (*names, "gpt-4.1")]
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "MARKS_FILE": str(folder / "marks.jsonl"),
        "LANGFUSE_PUBLIC_KEY": "pk-test",
        "LANGFUSE_SECRET_KEY": "sk-test",
        "LANGFUSE_HOST": langfuse.url,
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with Simulator(quick) as sim:
        for kind in KINDS:
            sim.script(kind.silent, Reply(), Reply(fault="400"))
        script = subprocess.run(
            [sys.executable, folder / "script.py", json.dumps(deployments(sim))],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert script.returncode == 0, script.stderr[-2000:]
    registry = prometheus_client.CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder / "metrics"))
    logged = [json.loads(line) for line in (folder / "marks.jsonl").read_text().splitlines()]
    return ChildRun(
        next(each["process"] for each in logged if each["model"] == KINDS[0].silent),
        logged,
        json.loads(script.stdout.splitlines()[-1]),
        registry,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
class TestInAChild:
    def test_importable_loggers_get_mark_tag_and_ids(self, run: ChildRun, kind: Kind) -> None:
        silent = [each for each in run.logged if each["model"] == kind.silent]
        assert {each["process"] for each in silent} == {run.process}
        assert {each["ok"] for each in silent} == {True, False}
        assert all(each["mark"] is True and MARK in each["tags"] for each in silent)
        pairs = {pair["pair_id"] for pair in run.pairs}
        assert {each["ids"]["mirrorkit_pair_id"] for each in silent} <= pairs
        primaries = [each for each in run.logged if each["model"] == kind.primary]
        assert {each["mark"] for each in primaries} == {None}
        assert run.process not in {each["process"] for each in primaries}

    def test_langfuse_gets_the_mark(self, run: ChildRun, langfuse: Langfuse, kind: Kind) -> None:
        ids = {pair["pair_id"] for pair in run.pairs}
        silent = [
            each
            for each in langfuse.of(kind.silent)
            if json.loads(each.metadata("spend_logs_metadata"))["mirrorkit_pair_id"] in ids
        ]
        assert {each.metadata(MARK) for each in silent} == {True}
        assert {each.attributes["langfuse.observation.level"] for each in silent} == {"DEFAULT", "ERROR"}

    def test_prometheus_counts_it_apart(self, run: ChildRun, kind: Kind) -> None:
        answers = counted(run.metrics, "litellm_requests_metric_total", kind.silent)
        failures = counted(run.metrics, "litellm_llm_api_failed_requests_metric_total", kind.silent)
        assert answers.keys() == failures.keys() == {"true"}
