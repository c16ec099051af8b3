"""`silent_model` taken over and given back: no deployment is lost, and each has its own in the end."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import litellm
import pytest
from litellm.router_api import ChangeSet
from litellm.types.router import Deployment

import mirrorkit as mk
from mirrorkit.capture.router.adapter import Adapter

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


def deployment(group: str, id: str, **params: Any) -> dict[str, Any]:
    return {
        "model_name": group,
        "litellm_params": {"model": "openai/gpt-4o", "api_key": "none", **params},
        "model_info": {"id": id},
    }


def upsert(router: litellm.Router, *deployments: dict[str, Any]) -> None:
    router.apply(ChangeSet(upsert=[Deployment(**each) for each in deployments]))


def silent_of(router: litellm.Router) -> dict[str, Any]:
    return {d["model_info"]["id"]: d["litellm_params"].get("silent_model") for d in router.registry().all()}


class TestTakingOver:
    @pytest.mark.parametrize("silent", ["next", ["next", "other"]])
    def test_settings_are_taken_and_come_back_as_they_were(self, silent: Any) -> None:
        router = litellm.Router(
            model_list=[deployment("chat", "1", silent_model=silent), deployment("x", "2")]
        )
        adapter = Adapter(router)
        names = (silent,) if isinstance(silent, str) else tuple(silent)
        assert silent_of(router) == {"1": [], "2": None}
        assert adapter.silent_models() == [("chat", names)]
        assert adapter.targets("1") == names
        assert adapter.targets("2") == adapter.targets(None) == adapter.targets("?") == ()
        adapter.give_back()
        assert silent_of(router) == {"1": silent, "2": None}
        adapter.give_back()
        assert silent_of(router) == {"1": silent, "2": None}

    def test_everything_else_of_a_deployment_stays_even_what_is_no_json(self) -> None:
        def token() -> str:
            return "token"

        models = [deployment("chat", "1", silent_model="next", azure_ad_token_provider=token, rpm=7)]
        router = litellm.Router(model_list=models)
        before = {**router.registry().all()[0]["litellm_params"]}
        adapter = Adapter(router)
        during = router.registry().all()[0]["litellm_params"]
        assert {**during, "silent_model": "next"} == before
        assert during["azure_ad_token_provider"] is token
        adapter.give_back()
        assert router.registry().all()[0]["litellm_params"] == before

    def test_a_deployment_can_still_be_edited_in_place(self, sim: Any) -> None:
        """What is held of the live list before a session opens is still the Router's own afterwards."""
        router = litellm.Router(model_list=[sim.deployment("chat", "gpt-4o", silent_model="next")])
        held = router.registry().all()[0]
        adapter = Adapter(router)
        assert router.registry().all()[0] is held
        held["litellm_params"]["model"] = "openai/gpt-4.1"
        router.completion("chat", MESSAGES)
        assert (sim.count("gpt-4.1"), sim.count("gpt-4o")) == (1, 0)
        adapter.give_back()

    def test_a_list_of_the_users_own_is_untouched(self) -> None:
        models = [deployment("chat", "1", silent_model="next")]
        Adapter(models).give_back()
        assert models == [deployment("chat", "1", silent_model="next")]

    def test_it_costs_about_one_write_not_one_for_each_deployment(self) -> None:
        """A write hands LiteLLM every deployment: with one for each, this would be 200 times as much."""
        router = litellm.Router(model_list=[deployment("chat", f"{n}", silent_model="x") for n in range(200)])
        live = router.registry().all()

        def seconds(work: Callable[[], Any]) -> float:
            began = time.perf_counter()
            work()
            return time.perf_counter() - began

        def write() -> None:
            live[:] = live

        adapters: list[Adapter] = []
        rounds = [
            (
                seconds(write),
                seconds(lambda: adapters.append(Adapter(router))),
                seconds(lambda: adapters.pop().give_back()),
            )
            for _ in range(5)
        ]
        one, opened, closed = (min(column) for column in zip(*rounds, strict=True))
        assert opened < 20 * one
        assert closed < 20 * one

    def test_a_write_that_litellm_refuses_leaves_everything_as_it_was(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        router = litellm.Router(model_list=[deployment("chat", "1", silent_model="next")])

        def refuse(*_: Any) -> None:
            raise RuntimeError("not now")

        monkeypatch.setattr(type(router.registry().all()), "__setitem__", refuse)
        with pytest.raises(RuntimeError, match="not now"):
            Adapter(router)
        monkeypatch.undo()
        assert silent_of(router) == {"1": "next"}


Way = Callable[[litellm.Router, Callable[..., dict[str, Any]]], None]


def _new_by_apply(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    upsert(router, made("new", "n", silent_model="other"))


def _new_by_add_deployment(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    router.add_deployment(Deployment(**made("new", "n", silent_model="other")))


def _new_by_a_new_list(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    router.set_model_list(
        [made("new", "n", silent_model="other"), made("next", "2"), made("other", "3", model="gpt-4.1")]
    )


def _changed_by_apply(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    upsert(router, made("new", "1", silent_model="other"))


def _changed_in_place(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    live = router.registry().all()
    live[0]["model_name"] = "new"
    router.set_model_list([dict(each) for each in live])
    router.registry().all()[0]["litellm_params"]["silent_model"] = "other"


def _read_changed_and_written_back(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    read = router.registry().deployment("1")
    read.litellm_params.rpm = 1_000
    read.model_name = "new"
    router.apply(ChangeSet(upsert=[read]))


def _replaced_without(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    upsert(router, made("new", "1"))


def _deleted_in_place(router: litellm.Router, made: Callable[..., dict[str, Any]]) -> None:
    _read_changed_and_written_back(router, made)
    del router.registry().all()[-1]["litellm_params"]["silent_model"]


class TestDeploymentsThatChangeWhileASessionIsOpen:
    """Mirrored rightly from the next request on, once for each silent model, and right again in the end."""

    @pytest.mark.parametrize(
        ("way", "arms", "in_the_end"),
        [
            (_new_by_apply, ["other"], "other"),
            (_new_by_add_deployment, ["other"], "other"),
            (_new_by_a_new_list, ["other"], "other"),
            (_changed_by_apply, ["other"], "other"),
            (_changed_in_place, ["other"], "other"),
            (_read_changed_and_written_back, ["next"], "next"),
            (_replaced_without, [], None),
            (_deleted_in_place, [], None),
        ],
    )
    def test_by_every_public_way(
        self, sim: Any, drive: Any, way: Way, arms: list[str], in_the_end: Any
    ) -> None:
        self.mirrored(sim, drive, way, arms, in_the_end, "shared")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("way", "arms", "in_the_end"),
        [(_changed_in_place, ["other"], "other"), (_replaced_without, [], None)],
    )
    @pytest.mark.parametrize("drive", ["sync"], indirect=True)
    def test_in_the_child_too(self, sim: Any, drive: Any, way: Way, arms: list[str], in_the_end: Any) -> None:
        self.mirrored(sim, drive, way, arms, in_the_end, "process")

    def mirrored(
        self, sim: Any, drive: Any, way: Way, arms: list[str], in_the_end: Any, isolation: Any
    ) -> None:
        def made(group: str, id: str, model: str = "gpt-4o", **params: Any) -> dict[str, Any]:
            served = {"next": "gpt-4o-mini", "other": "gpt-4.1"}.get(group, model)
            return sim.deployment(group, served, **params) | {"model_info": {"id": id}}

        models = [made("chat", "1", silent_model="next"), made("next", "2"), made("other", "3")]
        router = litellm.Router(model_list=models)
        session = mk.MirrorSession(router, isolation=isolation)
        drive.chat(session)
        drive.drain(session)
        way(router, made)
        drive.chat(session, model="new")
        drive.drain(session)
        assert session.frame["arm"].to_list() == ["next", *arms]
        assert session.frame["silent_status"].to_list() == ["ok"] * (1 + len(arms))
        assert (sim.count("gpt-4o-mini"), sim.count("gpt-4.1")) == (
            1 + arms.count("next"),
            arms.count("other"),
        )
        drive.close(session)
        last = {d["model_name"]: d["litellm_params"].get("silent_model") for d in router.registry().all()}
        assert last["new"] == in_the_end

    def test_a_deployment_that_was_deleted_is_forgotten(self) -> None:
        router = litellm.Router(
            model_list=[deployment("a", "1", silent_model="next"), deployment("b", "2", silent_model="c")]
        )
        adapter = Adapter(router)
        router.apply(ChangeSet(delete=["1"]))
        adapter.take_over()
        assert adapter.silent_models() == [("b", ("c",))]
        adapter.give_back()
        assert silent_of(router) == {"2": "c"}

    def test_calls_on_the_router_itself_are_mirrored_by_nobody(self, sim: Any, drive: Any) -> None:
        models = [
            sim.deployment("chat", "gpt-4o", silent_model="next"),
            sim.deployment("next", "gpt-4o-mini"),
        ]
        router = litellm.Router(model_list=models)
        session = mk.MirrorSession(router)
        drive.chat(session.router, messages=MESSAGES)
        assert sim.count("gpt-4o-mini") == session.funnel.requests == 0
        drive.close(session)
        with sim.hold("gpt-4o-mini") as hold:
            drive.chat(router, messages=MESSAGES)
            hold.wait_for(1)  # LiteLLM mirrors again


class Shared:
    """A Router that many sessions and a thread that adds deployments have at once."""

    def __init__(self, before: int, added: int) -> None:
        self.before, self.added = before, added
        self.router = litellm.Router(model_list=[self.made(n) for n in range(before)])
        self.done = threading.Event()

    @staticmethod
    def own(n: int) -> Any:
        return (None, f"g{n % 7}", ["g2", "g3"])[n % 3]

    def made(self, n: int) -> dict[str, Any]:
        own = {} if self.own(n) is None else {"silent_model": self.own(n)}
        return deployment(f"g{n % 20}", f"d{n}", **own)

    def add(self) -> None:
        for n in range(self.before, self.before + self.added):
            upsert(self.router, self.made(n))
        self.done.set()

    def sessions(self) -> None:
        while not self.done.is_set():
            adapter = Adapter(self.router)
            for _ in range(3):
                adapter.take_over()
            adapter.give_back()
            self.done.wait(0.05)

    def run(self, sessions: int) -> None:
        threads = [threading.Thread(target=self.sessions) for _ in range(sessions)]
        threads.append(threading.Thread(target=self.add))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture(params=[(20, 60), pytest.param((200, 400), marks=pytest.mark.slow)], ids=["few", "many"])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    shared = Shared(*request.param)
    yield shared
    shared.router.retire()


class TestManyAtOnce:
    def test_ten_sessions_that_open_and_close_lose_no_deployment_of_another_thread(
        self, shared: Shared
    ) -> None:
        shared.run(sessions=10)
        total = shared.before + shared.added
        ids = [d["model_info"]["id"] for d in shared.router.registry().all()]
        assert len(ids) == total
        assert silent_of(shared.router) == {f"d{n}": shared.own(n) for n in range(total)}
        assert shared.router.registry().names(kind="ids") == ids

    @pytest.mark.slow
    def test_sessions_that_open_while_others_close_leave_the_settings_to_the_last(self) -> None:
        # as many rounds as it takes to find one session that forgets what another has still to put back
        models = [deployment(f"g{n}", f"d{n}", silent_model="g0") for n in range(3)]
        switches = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for _ in range(400):
                router = litellm.Router(model_list=models)

                def open_and_close(router: litellm.Router = router) -> None:
                    for _ in range(60):
                        Adapter(router).give_back()

                threads = [threading.Thread(target=open_and_close) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert silent_of(router) == {"d0": "g0", "d1": "g0", "d2": "g0"}
                router.retire()
        finally:
            sys.setswitchinterval(switches)

    def test_two_sessions_on_one_router_give_its_settings_back_with_the_last(self) -> None:
        router = litellm.Router(model_list=[deployment("chat", "1", silent_model="next")])
        first, second = Adapter(router), Adapter(router)
        first.give_back()
        assert silent_of(router) == {"1": []}
        assert second.targets("1") == ("next",)
        second.give_back()
        assert silent_of(router) == {"1": "next"}
        third = Adapter(router)
        assert third.targets("1") == ("next",)
        third.give_back()
        assert silent_of(router) == {"1": "next"}

    def test_a_list_that_is_being_replaced_is_not_written_to(self, together: Callable[..., None]) -> None:
        """Half a list would leave the Router without the other half until it is whole."""
        router = litellm.Router(model_list=[deployment("chat", f"{n}", silent_model="x") for n in range(50)])
        adapter, seen = Adapter(router), []
        replaced = threading.Event()

        def replace() -> None:
            for _ in range(5):
                router.set_model_list([deployment("chat", f"{n}", silent_model="x") for n in range(50)])
            replaced.set()

        def look() -> None:
            while not replaced.is_set():
                adapter.take_over()
                seen.append(router.registry().resolve("chat", kind="recognized"))

        together(replace, look)
        adapter.take_over()
        assert all(seen)
        assert silent_of(router) == {f"{n}": [] for n in range(50)}
        adapter.give_back()
        assert silent_of(router) == {f"{n}": "x" for n in range(50)}
