"""The session as a person meets it: at the door, in a batch, waiting, closing, looking."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import litellm
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import mirrorkit as mk
from mirrorkit.simulator import Reply

MESSAGES = [{"role": "user", "content": "Where is my parcel?"}]


@pytest.fixture
def models(sim: Any) -> list[dict[str, Any]]:
    return [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]


class TestTheDoor:
    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"silent_model": "nowhere"}, "'nowhere' is no model group"),
            ({"silent_model": {"nowhere": "next"}}, "'nowhere' is no model group"),
            ({"silent_model": {"chat": "chat"}}, "mirror onto itself"),
            ({"silent_model": ["next", 3]}, "name of a model group"),
            ({"silent_model": {1: "next"}}, "names of model groups as keys"),
            ({"silent_model": [{"api_key": "k"}]}, "a dict is no name"),
            ({}, "nothing to mirror to"),
            ({"sample": 1.5}, "sample=1.5: give a number from 0 to 1"),
            ({"sample": float("nan")}, "sample=nan"),
            ({"control": -0.1}, "control=-0.1"),
            ({"budget_usd": -1}, "budget_usd=-1"),
            ({"budget_usd": "5"}, "budget_usd='5'"),
            ({"timeout_s": 0}, "above 0"),
            ({"max_in_flight": 0}, "max_in_flight=0: give a whole number, 1 or more"),
            ({"max_waiting": 1.5}, "max_waiting=1.5"),
            ({"silent_retries": True}, "silent_retries=True"),
            ({"seed": "x"}, "seed='x'"),
            ({"where": "tag"}, "where='tag': give a function"),
            ({"redact": 1}, "redact=1: give a function"),
            ({"where": asyncio.sleep}, "an async one is never awaited"),
            ({"isolation": "thread"}, "isolation='thread'"),
            ({"mirror_rate": 0}, "mirror_rate=0: give a number above 0"),
            ({"silent_model": "next", "max_pairs_in_memory": 5}, "takes a journal"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_value(
        self, models: Any, options: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(mk.ConfigError) as caught:
            mk.MirrorSession(models, **options)
        assert says in str(caught.value)
        assert isinstance(caught.value, mk.MirrorError)

    @pytest.mark.parametrize(
        ("router", "says"),
        [
            ([], "the model list is empty"),
            ([{"model_name": "a"}], "has no litellm_params"),
            ([{"litellm_params": {"model": "openai/x"}}], "has no model_name"),
            (["a"], "is a str: give a dict"),
            (7, "give a litellm.Router"),
            ("no/such/config.yaml", "cannot read"),
        ],
    )
    def test_what_is_no_router_is_named(self, router: Any, says: str) -> None:
        with pytest.raises(mk.ConfigError, match=says):
            mk.MirrorSession(router, silent_model="b")

    def test_a_refused_session_gives_the_router_back(self, sim: Any) -> None:
        router = litellm.Router(
            model_list=[
                sim.deployment("chat", "gpt-4o", silent_model="nowhere"),
                sim.deployment("next", "gpt-4o-mini"),
            ]
        )
        with pytest.raises(mk.ConfigError, match="nowhere"):
            mk.MirrorSession(router)
        assert router.registry().all()[0]["litellm_params"]["silent_model"] == "nowhere"

    def test_no_key_that_was_put_in_the_wrong_place_is_shown(self, models: Any, sim: Any) -> None:
        for wrong in (models, {"chat": models}, models[0]):
            with pytest.raises(mk.ConfigError) as caught:
                mk.MirrorSession(models, silent_model=wrong)
            assert sim.api_key not in str(caught.value)

    def test_a_group_called_control_cannot_be_silent(self, sim: Any) -> None:
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("control", "gpt-4o-mini")]
        with pytest.raises(mk.ConfigError, match="control arm"):
            mk.MirrorSession(models, silent_model="control")

    def test_a_config_yaml_makes_a_session(
        self, sim: Any, tmp_path: Path, monkeypatch: Any, litellm_state: Any
    ) -> None:
        monkeypatch.setenv("SIMULATOR_KEY", sim.api_key)
        config = tmp_path / "config.yaml"
        config.write_text(
            f"""
model_list:
  - model_name: chat
    litellm_params: {{model: openai/gpt-4o, api_base: "{sim.url}", api_key: os.environ/SIMULATOR_KEY,
                      silent_model: next}}
  - model_name: next
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{sim.url}", api_key: os.environ/SIMULATOR_KEY}}
router_settings: {{num_retries: 1, retry_after: 0}}
litellm_settings: {{drop_params: true}}
"""
        )
        sim.script("gpt-4o", Reply(fault="500"))
        with mk.MirrorSession(config) as session:
            session.completion("chat", MESSAGES)
            assert session.drain(20)
            pair = session.frame.row(0, named=True)
        assert (pair["primary_attempts"], pair["silent_status"]) == (2, "ok")
        assert litellm_state.drop_params is True

    def test_the_users_cache_is_neither_read_nor_written_by_making_a_session(
        self, models: Any, litellm_state: Any
    ) -> None:
        litellm_state.cache = litellm.Cache(type="local")
        for _ in range(2):
            mk.MirrorSession(models, silent_model="next").close()
        assert litellm_state.cache.cache.cache_dict == {}

    def test_a_budget_of_litellms_that_is_spent_keeps_no_session_from_being_made(
        self, models: Any, litellm_state: Any, drive: Any
    ) -> None:
        litellm_state.max_budget = -1.0
        with mk.MirrorSession(models, silent_model="next") as session:
            with pytest.raises(litellm.BudgetExceededError):
                drive.chat(session)
            drive.drain(session)
            assert session.frame["primary_error_type"].to_list() == ["BudgetExceededError"]

    def test_an_unknown_setting_of_a_config_is_named(self, sim: Any, tmp_path: Path) -> None:
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        for section, name in (("router_settings", "num_retry"), ("litellm_settings", "proxy_only_thing")):
            config = tmp_path / "config.yaml"
            config.write_text(json.dumps({"model_list": models, section: {name: 1}}))
            with pytest.raises(mk.ConfigError, match=name):
                mk.MirrorSession(config, silent_model="next")

    def test_what_the_router_refuses_is_said_without_its_keys(self, sim: Any) -> None:
        models = [sim.deployment("chat", "gpt-4o") | {"model_info": "none"}]
        with pytest.raises(mk.ConfigError) as caught:
            mk.MirrorSession(models, silent_model="next")
        assert sim.api_key not in str(caught.value)


class TestCallsThatAreNotMirrored:
    def test_they_are_refused_with_the_way_out(self, models: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            with pytest.raises(mk.UnsupportedCall, match=r"session\.router\.aimage_generation"):
                session.aimage_generation
            assert not hasattr(session, "amoderation")
            with pytest.raises(AttributeError, match="no attribute 'complete'"):
                session.complete
            assert session.router.aimage_generation

    def test_a_closed_session_says_so_and_keeps_its_pairs(self, models: Any, drive: Any) -> None:
        session = mk.MirrorSession(models, silent_model="next")
        drive.chat(session)
        drive.close(session)
        drive.close(session)
        with pytest.raises(mk.SessionClosed):
            drive.chat(session)
        assert session.frame.height == len(session) == 1
        assert "closed" in repr(session)
        assert session.compare().table.height > 0


class TestComparing:
    def test_pairs_that_overtook_one_under_way_wait_for_it_in_every_copy(
        self, models: Any, sim: Any, eventually: Any, tmp_path: Path
    ) -> None:
        with mk.MirrorSession(
            [*models, sim.deployment("third", "gpt-4.1")], silent_model=["next", "third"]
        ) as session:
            session.completion("chat", MESSAGES)
            session.drain()
            hold = sim.hold("gpt-4.1")
            for _ in range(2):
                session.completion("chat", MESSAGES)
            hold.wait_for(2)
            assert eventually(lambda: len(session) == 4)
            assert session.frame.filter(pl.col("started_at") >= session.complete_before).height == 2
            for name in ("live.parquet", "live.csv"):
                getattr(session, f"to_{name[5:]}")(tmp_path / name)
                assert mk.load(tmp_path / name).compare().frame.height == 2
            assert session.compare().frame.height == 2
            hold.release()
            session.drain()
            assert session.compare().frame.height == 6

    def test_gates_that_were_set_stay_with_the_session_and_its_file(
        self, models: Any, drive: Any, tmp_path: Path
    ) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            drive.chat(session)
            drive.drain(session)
            session.compare(gates={"cost": 0.5}, alpha=0.1)
            assert session.compare().plan.words() == "gates: cost < ×0.5; alpha 0.1"
            drive.chat(session)
            drive.drain(session)
            changed = session.compare(gates={"cost": 0.9})
            assert any("changed after a look at 1 pair" in str(each) for each in changed.warnings)
            session.to_parquet(tmp_path / "pairs.parquet")
        loaded = mk.load(tmp_path / "pairs.parquet").compare()
        assert loaded.plan.words() == "gates: cost < ×0.9; alpha 0.1"
        assert [str(each) for each in loaded.warnings] == [str(each) for each in changed.warnings]


class TestRun:
    def run(self, drive: Any, session: Any, requests: Any, **options: Any) -> list[Any]:
        return drive.call(session, "run", requests, progress=False, **options)

    @pytest.mark.parametrize(
        "requests",
        [
            ["Hi", "Ho"],
            [[{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Ho"}]],
            [
                {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0},
                {"model": "chat", "messages": [{"role": "user", "content": "Ho"}]},
            ],
            pl.DataFrame({"prompt": ["Hi", "Ho"], "other": [1, 2]}),
            pl.Series(["Hi", "Ho"]),
        ],
        ids=["prompts", "message lists", "dicts", "frame", "series"],
    )
    def test_it_takes_requests_in_each_form(self, models: Any, drive: Any, requests: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            answers = self.run(drive, session, requests)
            frame = session.frame.sort("messages")
        assert [type(a) for a in answers] == [litellm.ModelResponse] * 2
        assert [json.loads(m)[0]["content"] for m in frame["messages"]] == ["Hi", "Ho"]
        assert set(frame["silent_status"]) == {"ok"}

    def test_a_recording_can_be_asked_again(self, models: Any, drive: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            self.run(drive, session, ["Hi", "Ho"])
            again = session.frame
            self.run(drive, session, again)
            assert sorted(session.frame["messages"].to_list()) == sorted([*again["messages"]] * 2)

    def test_one_bad_request_is_a_row_and_not_the_end(self, models: Any, drive: Any, sim: Any) -> None:
        router = litellm.Router(model_list=models, num_retries=0)
        with mk.MirrorSession(router, silent_model="next") as session:
            answers = self.run(drive, session, ["Hi", None, {"messages": 7}, "Ho"], concurrency=1)
            frame = session.frame
        assert [isinstance(a, Exception) for a in answers] == [False, True, True, False]
        assert frame.height == 4
        assert frame.filter(pl.col("primary_status") == "error").height == 2

    def test_streams_are_read_to_their_end(self, models: Any, drive: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            chunks = self.run(drive, session, ["Hi"], stream=True)[0]
            assert session.frame["primary_status"].to_list() == ["ok"]
        assert len(chunks) > 2

    def test_no_more_than_concurrency_at_once(self, models: Any, sim: Any) -> None:
        with sim.hold("gpt-4o") as hold, mk.MirrorSession(models, silent_model="next") as session:
            runner = threading.Thread(
                target=session.run, args=(["Hi"] * 5,), kwargs={"concurrency": 2, "progress": False}
            )
            runner.start()
            hold.wait_for(2)
            assert sim.count("gpt-4o") == 2
            hold.release()
            runner.join(30)
            assert session.frame.height == 5

    def test_a_batch_waits_for_its_mirrors_and_drops_none(self, models: Any, drive: Any) -> None:
        with mk.MirrorSession(models, silent_model="next", max_in_flight=1, max_waiting=2) as session:
            self.run(drive, session, ["Hi"] * 12, concurrency=2)
            assert session.frame.height == 12
            assert session.funnel.saturated == 0

    @pytest.mark.parametrize(
        ("requests", "options", "says"),
        [
            ("Hi", {}, "give a list of prompts"),
            (5, {}, "requests=int"),
            ({"messages": []}, {}, "requests=dict"),
            (pl.DataFrame({"text": ["Hi"]}), {}, "no column 'messages' or 'prompt'"),
            (pl.DataFrame({"text": ["Hi"]}), {"column": "body"}, "no column 'body'"),
            (["Hi"], {"concurrency": 0}, "concurrency=0"),
        ],
    )
    def test_what_cannot_be_run_is_named_before_anything_is_sent(
        self, models: Any, drive: Any, sim: Any, requests: Any, options: Any, says: str
    ) -> None:
        with (
            mk.MirrorSession(models, silent_model="next") as session,
            pytest.raises(mk.ConfigError, match=says),
        ):
            self.run(drive, session, requests, **options)
        assert not sim.requests

    def test_where_several_groups_could_answer_the_model_must_be_named(
        self, models: Any, sim: Any, drive: Any
    ) -> None:
        models = [*models, sim.deployment("other", "gpt-4.1")]
        with mk.MirrorSession(models, silent_model="next") as session:
            with pytest.raises(mk.ConfigError, match="give model="):
                self.run(drive, session, ["Hi"])
            assert len(self.run(drive, session, ["Hi"], model="other")) == 1

    def test_run_works_while_a_loop_is_running(self, models: Any) -> None:
        async def cell(session: Any) -> int:
            return len(session.run(["Hi"] * 3, progress=False))

        with mk.MirrorSession(models, silent_model="next") as session:
            assert asyncio.run(cell(session)) == 3
            assert session.frame.height == 3

    def test_a_progress_bar_is_shown(self, models: Any, drive: Any, capfd: Any) -> None:
        with mk.MirrorSession(models, silent_model="next") as session:
            drive.call(session, "run", ["Hi"] * 3)
        assert "mirroring: 100%" in capfd.readouterr().err


class TestWaiting:
    def test_drain_says_whether_time_was_enough(self, models: Any, drive: Any, sim: Any) -> None:
        with sim.hold("gpt-4o-mini") as hold, mk.MirrorSession(models, silent_model="next") as session:
            drive.chat(session)
            assert drive.call(session, "drain", 0.05) is False
            hold.release()
            assert drive.call(session, "drain", 20) is True

    def test_drain_on_its_own_running_loop_says_what_to_do(self, models: Any, sim: Any) -> None:
        async def cell(session: Any) -> None:
            await session.acompletion("chat", MESSAGES)
            with pytest.raises(mk.LoopRunning, match=r"await session\.adrain\(\)"):
                session.drain()
            with pytest.raises(mk.LoopRunning):
                session.close()
            hold.release()
            assert await session.adrain(20)
            assert session.drain()

        with sim.hold("gpt-4o-mini") as hold, mk.MirrorSession(models, silent_model="next") as session:
            asyncio.run(cell(session))

    @pytest.mark.parametrize(
        "package", [pytest.param("nest_asyncio", marks=pytest.mark.slow), "nest_asyncio2"]
    )
    def test_drain_on_its_own_running_loop_works_with_nested_loops(self, sim: Any, package: str) -> None:
        # in a process of its own: both packages patch asyncio for good
        script = f"""
import asyncio, json, os, sys
import mirrorkit as mk
from mirrorkit.notebook import loops
assert mk.notebook.allow_nested_loops() == "nest_asyncio2"
if {package!r} == "nest_asyncio":
    import nest_asyncio; nest_asyncio.apply()
session = mk.MirrorSession(json.loads(os.environ["MODELS"]), silent_model="next")
async def cell():
    await session.acompletion("chat", [dict(role="user", content="Hi")])
    assert session.drain(20)
    return session.frame.height
loop = asyncio.new_event_loop(); asyncio.set_event_loop(loop)
import importlib; importlib.import_module({package!r}).apply(loop)
print(loop.run_until_complete(cell()))
session.close()
"""
        models = [sim.deployment("chat", "gpt-4o"), sim.deployment("next", "gpt-4o-mini")]
        import os

        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "MODELS": json.dumps(models)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.stdout.split()[-1:] == ["1"], done.stderr


class TestLooking:
    def test_repr_says_in_one_line_what_is_going_on(self, models: Any, drive: Any, sim: Any) -> None:
        with (
            sim.hold("gpt-4o-mini") as hold,
            mk.MirrorSession(models, silent_model="next", budget_usd=2) as session,
        ):
            drive.chat(session)
            assert repr(session) == (
                "<MirrorSession open: 1 requests, 1 mirrored, 0 pairs, 1 under way, $0 spent of $2>"
            )
            hold.release()
            drive.drain(session)

    def test_pairs_survive_csv_and_parquet(self, models: Any, drive: Any, tmp_path: Path, sim: Any) -> None:
        sim.script("gpt-4o", Reply(text='=HYPERLINK("http://x","y")'), Reply(fault="400"))
        with mk.MirrorSession(models, silent_model="next") as session:
            drive.call(session, "run", ["Hi", "Ho"], progress=False, metadata={"tags": ["a", "b,c"]})
            session.to_csv(tmp_path / "p.csv")
            session.to_parquet(tmp_path / "p.parquet")
            frame = session.frame
        for name in ("p.csv", "p.parquet"):
            assert_frame_equal(mk.load(tmp_path / name).frame, frame)
        assert "\"'=HYPERLINK" in (tmp_path / "p.csv").read_text()

    def test_the_frame_can_be_looked_at_while_pairs_come_in(self, models: Any) -> None:
        stop, heights = threading.Event(), []

        def look() -> None:
            while not stop.is_set():
                heights.append(session.frame.height)

        with mk.MirrorSession(models, silent_model="next") as session:
            watcher = threading.Thread(target=look)
            watcher.start()
            session.run(["Hi"] * 30, progress=False)
            stop.set()
            watcher.join()
            assert heights == sorted(heights)
            assert session.frame.height == 30
            assert session.frame["pair_id"].n_unique() == 30
