"""Requests in any form that a person has them in, sent boundedly; one bad one is not the end of the rest."""

import asyncio
import json
import threading
from concurrent.futures import Future
from typing import Any

import polars as pl
import pytest

from mirrorkit.capture.batch import StallLimit, arun_all, failure_of, read_requests, run_all
from mirrorkit.capture.dispatch import Dispatcher
from mirrorkit.errors import ConfigError

HI = [{"role": "user", "content": "Hi"}]
TALK = [{"role": "system", "content": "Be brief."}, *HI]


def read(source: Any, model: str | None = "chat", column: str | None = None, **params: Any) -> list[Any]:
    return read_requests(source, model, column, params)


def messages(source: Any, column: str | None = None) -> list[Any]:
    return [request["messages"] for request in read(source, column=column)]


class TestForms:
    @pytest.mark.parametrize(
        "source",
        [
            ["Hi", "Hi"],
            ("Hi", "Hi"),
            [HI, HI],
            [{"messages": HI}, {"messages": HI}],
            ["Hi", {"messages": HI}],
            [json.dumps(HI), " " + json.dumps(HI)],
            pl.Series(["Hi", "Hi"]),
            pl.Series([HI, HI]),
            [pl.Series(HI), pl.Series(HI)],
            pl.DataFrame({"prompt": ["Hi", "Hi"]}),
            pl.DataFrame({"messages": [HI, HI], "prompt": ["no", "no"]}),
            pl.DataFrame({"messages": [json.dumps(HI)] * 2}),
        ],
        ids=lambda source: type(source).__name__,
    )
    def test_each_form_makes_the_same_requests(self, source: Any) -> None:
        assert read(source, temperature=0) == [{"model": "chat", "temperature": 0, "messages": HI}] * 2

    def test_generators_and_other_iterables_are_read_once(self) -> None:
        assert messages(prompt for prompt in ("Hi", "Ho")) == [HI, [{"role": "user", "content": "Ho"}]]
        assert messages({"Hi": 1}.keys()) == [HI]
        assert read([]) == read(pl.DataFrame({"prompt": []})) == []

    def test_a_frames_lists_of_structs_become_lists_of_dicts(self) -> None:
        frame = pl.DataFrame({"messages": [TALK, HI]})
        assert isinstance(frame["messages"].dtype, pl.List)
        assert messages(frame) == [TALK, HI]
        assert all(type(m) is dict for talk in messages(frame) for m in talk)

    def test_any_column_can_be_named(self) -> None:
        frame = pl.DataFrame({"question": ["Hi"], "prompt": ["no"]})
        assert messages(frame, "question") == [HI]

    def test_a_request_dict_wins_over_what_all_have(self) -> None:
        own = {"model": "other", "messages": HI, "temperature": 1, "user": "u"}
        assert read([own], temperature=0, seed=7) == [{**own, "seed": 7}]
        assert own == {"model": "other", "messages": HI, "temperature": 1, "user": "u"}

    def test_no_model_is_needed_where_each_request_names_its_own(self) -> None:
        assert read([{"model": "a", "messages": HI}], None)[0]["model"] == "a"

    @pytest.mark.parametrize(
        "text", ["[1, 2] is a list", "[]", "[1]", '[{"a": 1}]', "[", '{"role": "user"}', "", "null"]
    )
    def test_text_that_is_no_message_list_is_a_prompt(self, text: str) -> None:
        assert messages([text]) == [[{"role": "user", "content": text}]]

    def test_a_prompt_of_many_brackets_is_a_prompt(self) -> None:
        assert len(messages(["Hi", "[" * 100_000])) == 2

    @pytest.mark.parametrize("odd", [None, 7, 2.5, True, b"bytes", object()])
    def test_what_is_no_request_stays_a_row_to_fail(self, odd: Any) -> None:
        assert messages(["Hi", odd]) == [HI, odd]

    def test_a_null_cell_stays_a_row_to_fail(self) -> None:
        assert messages(pl.DataFrame({"prompt": ["Hi", None]})) == [HI, None]
        assert messages(pl.DataFrame({"messages": [HI, None]})) == [HI, None]
        assert messages(pl.DataFrame({"prompt": [None]})) == [None]


class TestRefusals:
    @pytest.mark.parametrize(
        "source", ["Hi", b"Hi", {"messages": HI}, 7, None, pl.LazyFrame({"prompt": ["Hi"]})]
    )
    def test_what_holds_no_requests_is_named(self, source: Any) -> None:
        with pytest.raises(ConfigError, match=f"requests={type(source).__name__}"):
            read(source)

    @pytest.mark.parametrize(
        ("column", "wanted"), [(None, "'messages' or 'prompt'"), ("nowhere", "'nowhere'")]
    )
    def test_a_frame_without_the_column_is_told_its_columns(self, column: str | None, wanted: str) -> None:
        with pytest.raises(ConfigError) as caught:
            read(pl.DataFrame({"question": ["Hi"]}), column=column)
        assert f"no column {wanted}" in str(caught.value)
        assert "['question']" in str(caught.value)

    def test_a_request_without_a_model_is_named(self) -> None:
        with pytest.raises(ConfigError, match="give model="):
            read([{"model": "a", "messages": HI}, "Hi"], None)

    def test_a_frame_of_another_library_is_not_read_as_its_column_names(self) -> None:
        class DataFrame:
            columns = ("prompt", "id")

            def __iter__(self) -> Any:
                return iter(self.columns)

        with pytest.raises(ConfigError):
            read(DataFrame())


def bounded(n: int, concurrency: int, asynchronous: bool) -> tuple[list[Any], int, list[int]]:
    """Runs n calls, every third of which fails; gives results, the most at once, and what was shown."""
    lock, state, shown = threading.Lock(), {"inside": 0, "most": 0}, []

    def enter(change: int) -> None:
        with lock:
            state["inside"] += change
            state["most"] = max(state["most"], state["inside"])

    def outcome(kwargs: dict[str, Any]) -> Any:
        if kwargs["n"] % 3 == 0:
            raise ValueError(kwargs["n"])
        return iter([kwargs["n"]]) if kwargs["n"] % 3 == 1 else kwargs["n"]

    def call(kwargs: dict[str, Any], _: Any) -> Any:
        enter(1)
        try:
            return outcome(kwargs)
        finally:
            enter(-1)

    async def acall(kwargs: dict[str, Any], _: Any) -> Any:
        enter(1)
        try:
            await asyncio.sleep(0)
            if kwargs["n"] % 3 == 1:

                async def chunks() -> Any:
                    yield kwargs["n"]

                return chunks()
            return outcome(kwargs)
        finally:
            enter(-1)

    results = run([{"n": k} for k in range(n)], call, acall, concurrency, shown.append, asynchronous)
    return results, state["most"], shown


def run(
    requests: list[Any],
    call: Any,
    acall: Any,
    concurrency: int,
    show: Any,
    asynchronous: bool,
    limit: Any = None,
) -> list[Any]:
    results: list[Any] = [None] * len(requests)
    if asynchronous:
        asyncio.run(arun_all(requests, acall, concurrency, show, results, limit))
    else:
        run_all(requests, call, concurrency, show, results, limit)
    return results


@pytest.mark.parametrize("asynchronous", [False, True])
class TestRunning:
    @pytest.mark.parametrize("concurrency", [1, 4, 64])
    def test_every_request_has_its_own_result_in_its_place(
        self, asynchronous: bool, concurrency: int
    ) -> None:
        results, most, shown = bounded(30, concurrency, asynchronous)
        assert [r.args[0] if isinstance(r, ValueError) else r for r in results] == [
            [n] if n % 3 == 1 else n for n in range(30)
        ]
        assert sum(isinstance(r, ValueError) for r in results) == 10
        assert 1 <= most <= concurrency
        assert shown[-1] == 30
        assert shown == sorted(shown)

    def test_nothing_to_do_is_done(self, asynchronous: bool) -> None:
        assert bounded(0, 4, asynchronous)[0] == []

    def test_a_request_is_done_when_its_pairs_are_there(self, asynchronous: bool) -> None:
        pairs, shown = [Future[None]() for _ in range(3)], list[int]()

        def call(kwargs: dict[str, Any], hear: Any) -> int:
            hear(pairs[kwargs["n"]])
            return kwargs["n"]

        async def acall(kwargs: dict[str, Any], hear: Any) -> int:
            return call(kwargs, hear)

        def show(done: int) -> None:
            shown.append(done)
            for waiting in [each for each in pairs if not each.done()][:1]:
                waiting.set_result(None)

        assert run([{"n": n} for n in range(3)], call, acall, 1, show, asynchronous) == [0, 1, 2]
        assert set(shown) == {0, 1, 2, 3}

    def test_pairs_that_never_come_are_not_waited_for_for_ever(self, asynchronous: bool) -> None:
        never, sent = Future[None](), list[int]()

        def call(kwargs: dict[str, Any], hear: Any) -> int:
            sent.append(kwargs["n"])
            hear(never)
            return kwargs["n"]

        async def acall(kwargs: dict[str, Any], hear: Any) -> int:
            return call(kwargs, hear)

        limit = StallLimit(Dispatcher(1, 1), seconds=0.05)
        requests = [{"n": n} for n in range(6)]
        assert run(requests, call, acall, 2, lambda _: None, asynchronous, limit) == list(range(6))
        assert sorted(sent) == list(range(6))


def test_patience_lasts_while_calls_end_and_begins_anew_with_the_last_primary() -> None:
    now, dispatcher = [100.0], Dispatcher(1, 1)
    dispatcher.ended_at = 0.0
    limit = StallLimit(dispatcher, 30, lambda: now[0])
    now[0] = 130.0
    assert not limit.is_over
    dispatcher.ended_at, now[0] = 120.0, 149.0
    assert not limit.is_over
    limit.renew()
    now[0] = 178.0
    assert not limit.is_over
    now[0] = 180.0
    assert limit.is_over
    limit.renew()
    assert not limit.is_over


def test_a_batch_in_which_everything_failed_has_a_reason() -> None:
    first, second = ValueError("a"), ValueError("b")
    assert failure_of([first, second]) is first
    assert failure_of([first, "answer"]) is None
    assert failure_of([]) is None


def test_an_interrupt_stops_the_sending() -> None:
    gate, sent = threading.Event(), []

    def call(kwargs: dict[str, Any], hear: Any) -> None:
        sent.append(kwargs)
        assert gate.wait(30)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    workers: set[Any] = set()
    with pytest.raises(KeyboardInterrupt):
        run_all([{}] * 50, call, 2, interrupt, [None] * 50, workers=workers)
    gate.set()
    for worker in tuple(workers):
        worker.result(30)
    assert len(sent) <= 2


def test_who_sends_is_known_from_before_the_first_request_until_after_the_last() -> None:
    """An interpreter that ends waits for them: an interrupt may have come before the sender knew of them."""
    workers: set[Any] = set()
    known: list[Any] = [None] * 6
    run_all([{}] * 6, lambda *_: len(workers), 2, lambda _: None, known, workers=workers)
    assert min(known) >= 1
    assert workers == set()
