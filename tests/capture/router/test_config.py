"""A config.yaml is read as LiteLLM means it, and what is wrong with it is said without quoting it."""

import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.router.config import Config, as_names, read_config
from mirrorkit.errors import ConfigError

GOOD = {"model_name": "chat", "litellm_params": {"model": "openai/gpt-4o"}}


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        file = tmp_path / "config.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


def refusal(path: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    # with its whole chain: that is what a notebook shows
    text = "".join(traceback.format_exception_only(caught.value))
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Error: ") == text.count("Error: ")
    return str(caught.value)


class TestReading:
    def test_three_sections_are_taken_and_the_others_left(self, config: Any) -> None:
        file = config(
            "model_list:\n- model_name: chat\n  litellm_params: {model: openai/gpt-4o}\n"
            "router_settings: {num_retries: 2}\nlitellm_settings: {drop_params: true}\n"
            "general_settings: {master_key: os.environ/NOT_SET_AND_NOT_READ}\n"
        )
        for path in (file, str(file)):
            read = read_config(path)
            assert read == Config([GOOD], {"num_retries": 2}, {"drop_params": True})
            read.check()

    @pytest.mark.parametrize("empty", ["", "~", "{}", "null"])
    def test_an_empty_section_is_none_at_all(self, config: Any, empty: str) -> None:
        read = read_config(config(f"model_list: []\nrouter_settings: {empty}\nlitellm_settings: {empty}\n"))
        assert read == Config([], {}, {})

    def test_a_byte_order_mark_and_line_ends_of_windows_do_no_harm(self, config: Any) -> None:
        assert read_config(config(b"\xef\xbb\xbfmodel_list: []\r\nrouter_settings: {}\r\n")).model_list == []

    def test_variables_are_filled_in_at_any_depth(self, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MK_KEY", "from-env")
        monkeypatch.setenv("MK_EMPTY", "")
        file = config(
            "model_list:\n- model_name: chat\n  litellm_params:\n    api_key: os.environ/MK_KEY\n"
            "    extra_headers: {x: [os.environ/MK_KEY, {y: os.environ/MK_EMPTY}]}\n"
            "    note: see os.environ/X\n"
            "router_settings: {redis_password: os.environ/MK_KEY}\n"
        )
        read = read_config(file)
        assert read.model_list[0]["litellm_params"] == {
            "api_key": "from-env",
            "extra_headers": {"x": ["from-env", {"y": ""}]},
            "note": "see os.environ/X",
        }
        assert read.router_settings == {"redis_password": "from-env"}

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            (
                "model_list: [{litellm_params: {api_key: os.environ/MK_GONE}}]",
                "model_list[0].litellm_params.api_key",
            ),
            ("model_list: [1, {a: [os.environ/MK_GONE]}]", "model_list[1].a[0]"),
            ("model_list: []\nrouter_settings: {a: {b: os.environ/MK_GONE}}", "router_settings.a.b"),
            ("model_list: []\nlitellm_settings: {key: os.environ/MK_GONE}", "litellm_settings.key"),
        ],
    )
    def test_a_missing_variable_is_named_with_its_place(self, config: Any, text: str, where: str) -> None:
        assert "MK_GONE" not in os.environ
        message = refusal(config(text))
        assert message.startswith(where + " is ")
        assert "MK_GONE is not set" in message


class TestRefusals:
    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        missing = tmp_path / "nowhere.yaml"
        assert refusal(missing) == f"cannot read {str(missing)!r}: No such file or directory."

    def test_a_folder_is_named(self, tmp_path: Path) -> None:
        assert refusal(tmp_path) == f"cannot read {str(tmp_path)!r}: Is a directory."
        assert "Is a directory" in refusal("")

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", b"PAR1\x80\x81", b"\x89PNG\r\n\x1a\n"])
    def test_a_binary_file_is_no_text(self, config: Any, content: bytes) -> None:
        file = config(content)
        assert refusal(file) == f"cannot read {str(file)!r}: it is no text file."

    def test_a_control_character_is_no_yaml(self, config: Any) -> None:
        assert "is no YAML" in refusal(config(b"model_list: \x00\x01"))

    @pytest.mark.parametrize(
        "text",
        [
            "model_list:\n- api_key: 'hunter2-secret\n",
            "model_list:\n- api_key: hunter2-secret\n   model: [\n",
            "model_list:\n  hunter2-secret\n - x: {\n",
            "model_list: &a {hunter2-secret: *hunter2-secret}\n",
            "model_list: !!python/object:hunter2-secret {}\n",
        ],
    )
    def test_what_is_no_yaml_is_placed_but_not_quoted(self, config: Any, text: str) -> None:
        message = refusal(config(text))
        assert "is no YAML (line " in message
        assert "hunter2" not in message

    @pytest.mark.parametrize(
        "text", ["", "just text", "- a\n- b\n", "42", "router_settings: {}", "Model_List: []"]
    )
    def test_a_file_without_a_model_list_is_named(self, config: Any, text: str) -> None:
        assert "has no model_list" in refusal(config(text))

    @pytest.mark.parametrize(
        ("text", "kind"), [("{a: 1}", "dict"), ("chat", "str"), ("~", "NoneType"), ("3", "int")]
    )
    def test_a_model_list_that_is_no_list_is_named(self, config: Any, text: str, kind: str) -> None:
        assert f"is a {kind}: give a list" in refusal(config(f"model_list: {text}"))

    @pytest.mark.parametrize("name", ["router_settings", "litellm_settings"])
    def test_a_section_that_is_no_mapping_is_named(self, config: Any, name: str) -> None:
        message = refusal(config(f"model_list: []\n{name}: [1]\n"))
        assert message.startswith(f"{name} of ")
        assert "is a list: give a mapping" in message

    def test_a_date_that_is_none_is_refused(self, config: Any) -> None:
        assert "is no YAML" in refusal(config("model_list: [{api_version: 2024-02-30}]"))

    def test_a_path_with_a_null_byte_is_refused(self) -> None:
        assert "cannot read" in refusal("a\0b.yaml")

    def test_a_list_that_holds_itself_is_refused(self, config: Any) -> None:
        refusal(config("model_list: &a [*a]"))


class TestCheck:
    @pytest.mark.parametrize("models", [[GOOD], (GOOD, GOOD)])
    def test_good_lists_pass(self, models: Any) -> None:
        Config(models).check()

    @pytest.mark.parametrize(
        ("models", "says"),
        [
            ([], "the model list is empty"),
            ([GOOD, "chat"], "model_list[1] is a str: give a dict"),
            ([None], "model_list[0] is a NoneType"),
            ([{}], "model_list[0] has no model_name"),
            ([{"model_name": ""}], "model_list[0] has no model_name"),
            ([{"model_name": 3, "litellm_params": {"model": "x"}}], "model_list[0] has no model_name"),
            ([{"model_name": "chat"}], "model_list[0] ('chat') has no litellm_params with a model"),
            ([{"model_name": "chat", "litellm_params": None}], "('chat') has no litellm_params"),
            ([{"model_name": "chat", "litellm_params": {"model": 4}}], "('chat') has no litellm_params"),
            ([GOOD, {"model_name": "b", "litellm_params": {}}], "model_list[1] ('b')"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_place(self, models: Any, says: str) -> None:
        with pytest.raises(ConfigError) as caught:
            Config(models).check()
        assert says in str(caught.value)

    def test_no_message_quotes_a_parameter(self) -> None:
        with pytest.raises(ConfigError) as caught:
            Config([{"model_name": "chat", "litellm_params": {"api_key": "hunter2-secret"}}]).check()
        assert "hunter2" not in str(caught.value)


class TestNames:
    @given(st.lists(st.text(min_size=1)))
    def test_names_are_kept_in_order_without_repeats(self, names: list[str]) -> None:
        for given_ in (names, tuple(names), (n for n in names)):
            assert as_names(given_) == tuple(dict.fromkeys(names))

    @given(st.text(min_size=1))
    def test_one_name_is_a_list_of_one(self, name: str) -> None:
        assert as_names(name) == as_names([name]) == as_names([name, name]) == (name,)

    @given(
        st.integers()
        | st.binary()
        | st.dictionaries(st.text(), st.text())
        | st.just("")
        | st.lists(st.none() | st.integers() | st.just("") | st.binary(), min_size=1)
        | st.booleans()
    )
    def test_what_is_no_name_is_refused_with_its_value_or_its_kind(self, odd: Any) -> None:
        with pytest.raises(ConfigError) as caught:
            as_names(odd)
        first = odd[0] if isinstance(odd, list) else odd
        assert any(
            shown in str(caught.value) for shown in (repr(first), f"a {type(first).__name__} is no name")
        )

    def test_none_is_no_name(self) -> None:
        assert as_names(None) == as_names([]) == ()

    @pytest.mark.parametrize("odd", [3, {"a": 1}, ["next", None], ""])
    def test_a_malformed_silent_model_is_refused_by_the_name_of_its_deployment(self, odd: Any) -> None:
        models = [
            {"model_name": name, "litellm_params": {"model": "openai/gpt-4o"}} for name in ("next", "chat")
        ]
        models[1]["litellm_params"]["silent_model"] = odd
        with pytest.raises(ConfigError, match=r"silent_model of model_list\[1\] \('chat'\)") as caught:
            Config(models).check()
        assert "LiteLLM" not in str(caught.value)
