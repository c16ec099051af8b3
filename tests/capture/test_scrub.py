"""Whatever is recorded is storable JSON without secrets, and was seen by the user's `redact`."""

import dataclasses
import enum
import json
import string
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorkit.capture.keys import MASK
from mirrorkit.capture.scrub import Scrubber, is_secret_name, secrets_in

# a prefix that no other text here holds, so that a secret is found only where it was put
secrets = st.text(string.ascii_letters + string.digits + "-_.", min_size=13, max_size=30).map(
    lambda s: "Zq9" + s
)
texts = st.text(st.characters(exclude_characters="Z"), max_size=12)
keys = st.text(st.characters(exclude_characters="Z"), max_size=6)
odd_atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=4)
    | st.sampled_from(["\ud800", "a\x00b", "\udfff\U0001f600", "", MASK])
    | texts
)
odd_keys = keys | st.integers() | st.none() | st.booleans() | st.floats() | st.tuples(st.integers())


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(odd_keys, inner, max_size=4)
            | st.tuples(inner, inner)
            | st.frozensets(st.text(max_size=3), max_size=3)
        ),
        max_leaves=15,
    )


@st.composite
def with_a_secret(draw: st.DrawFn) -> tuple[str, Any]:
    """A secret, and nested data with it in texts: alone, in the middle of a word, twice, in inner JSON."""
    secret = draw(secrets)
    hidden = st.tuples(texts, texts).map(lambda around: secret.join(around))
    twice = st.just(secret + secret)
    inner = hidden.map(lambda text: json.dumps({"arguments": text}))
    return secret, draw(nested(odd_atoms | hidden | twice | inner))


def stored(text: str | None) -> Any:
    """What a reader gets back from a file that holds this text as JSON."""
    assert text is not None

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text.encode("utf-8").decode("utf-8"), parse_constant=refuse)


def leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for inner in value.values() for text in leaves(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in leaves(inner)]
    return [value] if isinstance(value, str) else []


class Model(pydantic.BaseModel):
    name: str
    password: pydantic.SecretStr = pydantic.SecretStr("Zq9-hidden-in-a-model")
    token: str = "Zq9-bare"


@dataclasses.dataclass
class Data:
    token: str = "Zq9-in-a-dataclass"


class Colour(enum.StrEnum):
    RED = "red"


class Odd:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def model_dump(self) -> Any:
        raise RuntimeError("no dump")


class TestKnownSecrets:
    @given(with_a_secret())
    def test_are_in_no_json(self, case: tuple[str, Any]) -> None:
        secret, value = case
        scrubbed = Scrubber([secret]).json(value)
        assert scrubbed is None or secret not in scrubbed

    @given(with_a_secret(), keys)
    def test_are_in_no_parameters(self, case: tuple[str, Any], name: str) -> None:
        secret, value = case
        assert secret not in str(Scrubber([secret]).params({name: value, "api_key": secret, "a": [secret]}))

    @given(secrets, texts, texts, st.booleans())
    def test_are_in_no_text_and_no_error(
        self, secret: str, before: str, after: str, known_late: bool
    ) -> None:
        scrubber = Scrubber().knowing(frozenset([secret])) if known_late else Scrubber([secret])
        for text in (before + secret + after, secret * 3, f"x{secret}x{secret}"):
            for scrubbed in (scrubber.text(text), scrubber.error(text), scrubber.json_text(text)):
                assert scrubbed is not None
                assert secret not in scrubbed

    @given(with_a_secret())
    def test_are_in_no_json_text(self, case: tuple[str, Any]) -> None:
        secret, value = case
        plain = stored(Scrubber().json([value]))
        scrubbed = Scrubber([secret]).json_text(json.dumps(plain))
        assert secret not in str(scrubbed)
        stored(scrubbed)

    def test_a_secret_that_holds_another_goes_whole(self) -> None:
        for known in (["abcdef12", "abcdef12-gh"], ["abcdef12-gh", "abcdef12"]):
            assert Scrubber(known).text("<abcdef12-gh> <abcdef12>") == f"<{MASK}> <{MASK}>"

    def test_words_that_stand_for_a_key_are_left(self) -> None:
        known = ["", "a", "short", "ollama", "not-needed", "anything"]
        text = "anything that ollama, or ollamas, say is not-needed: a short word"
        scrubber = Scrubber(known)
        assert scrubber.text(text) == scrubber.error(text) == text
        assert stored(scrubber.json([{"content": text}])) == [{"content": text}]
        assert stored(scrubber.params({"stop": [text], "api_key": "ollama"})) == {"stop": [text]}
        assert scrubber.knowing(frozenset(known)).text(text) == text

    def test_a_private_key_is_found_inside_of_json_too(self) -> None:
        key = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"
        account = json.dumps({"private_key": key})
        for value in (account, [account], {"arguments": json.dumps({"account": account})}):
            assert "MIIEvQ" not in str(Scrubber([key]).json(value))

    def test_nothing_is_left_of_what_is_too_short_to_tell(self) -> None:
        assert secrets_in({"api_key": "short", "token": "", "password": None}) == frozenset()

    def test_are_taken_from_a_requests_own_parameters_at_any_depth(self) -> None:
        params = {
            "api_key": "Zq9-key",
            "extra_headers": {"Authorization": "Zq9-auth", "X-Tokens": [{"x": "Zq9-deep"}]},
            "vertex_credentials": {"private_key": "Zq9-private"},
            "aws_session_token": pydantic.SecretStr("Zq9-hidden"),
            "messages": [{"content": "Zq9-no-secret"}],
            "max_tokens": 7,
        }
        assert secrets_in(params) == {"Zq9-key", "Zq9-auth", "Zq9-deep", "Zq9-private", "Zq9-hidden"}

    def test_are_taken_from_inside_of_parameters_where_they_are_texts(self) -> None:
        params = {
            "tools": [
                {"type": "mcp", "authorization": "Zq9-of-a-tool", "headers": {"X-Auth": "Zq9-of-a-header"}},
                {"type": "function", "function": {"parameters": {"token": "a-word-of-a-schema"}}},
                {
                    "type": "function",
                    "parameters": {"properties": {"token": {"description": "a-description"}}},
                },
            ],
            "extra_body": {"data_sources": [{"authentication": {"key": "Zq9-of-a-source"}}]},
            "messages": [{"token": "a-text-of-a-message"}],
            "metadata": {"key": "a-text-of-the-users"},
        }
        found = secrets_in(params)
        assert found == {"Zq9-of-a-tool", "Zq9-of-a-header", "Zq9-of-a-source"}

    def test_foreign_objects_are_passed_over(self) -> None:
        class Touchy:
            @property
            def __class__(self) -> Any:  # type: ignore[override]
                raise RuntimeError("no class")

            def __eq__(self, other: object) -> bool:
                raise RuntimeError("no comparison")

            def __hash__(self) -> int:
                return 7

        odd = {Touchy(): 1, "token": Touchy(), "list": [Touchy(), {"key": "Zq9-behind"}]}
        assert secrets_in({"extra_body": odd, "token": Touchy()}) == {"Zq9-behind"}

    def test_what_holds_itself_is_looked_through_once(self) -> None:
        loop: dict[str, Any] = {"token": "Zq9-in-a-loop"}
        loop["self"] = [loop] * 3
        assert secrets_in({"extra_body": loop}) == {"Zq9-in-a-loop"}

    @pytest.mark.parametrize(
        "secret", ["sk-abcdefgh12345.SECONDHALF", "key-12345678/TAIL+tail==", "AKIA0123456789ABCDEF/tail"]
    )
    def test_no_half_of_a_known_secret_is_left_in_an_error(self, secret: str) -> None:
        assert Scrubber([secret]).error(f"bad key <{secret}>") == f"bad key <{MASK}>"

    def test_a_bearers_token_is_known_without_its_scheme(self) -> None:
        found = secrets_in({"extra_headers": {"Authorization": "Bearer Zq9-token-of-mine"}})
        assert "Zq9-token-of-mine" not in str(Scrubber(found).text("you sent Zq9-token-of-mine"))

    def test_a_secret_is_masked_as_a_key_too(self) -> None:
        assert "Zq9-secret" not in str(Scrubber(["Zq9-secret"]).json([{"Zq9-secret": 1}]))


class TestJson:
    @given(nested(odd_atoms))
    def test_always_parses_and_encodes(self, value: Any) -> None:
        scrubber = Scrubber()
        if value is not None:
            stored(scrubber.json(value))
        stored(scrubber.params({"x": value, "tools": [{"type": value}]}))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_parses_under_a_secret_name_too(self, value: float) -> None:
        stored(Scrubber().params({"extra_body": {"token": [value]}}))

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | keys,
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
            max_leaves=15,
        )
    )
    def test_plain_data_is_kept_as_it_is(self, value: Any) -> None:
        try:
            str(value).encode()
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return
        assert json.loads(Scrubber().json([value]) or "") == [value]

    def test_numbers_that_json_has_not_become_texts(self) -> None:
        values = [float("nan"), float("inf"), float("-inf")]
        assert stored(Scrubber().json(values)) == ["nan", "inf", "-inf"]

    def test_foreign_values_are_written_without_their_content_or_by_their_fields(self) -> None:
        values = [b"x", object(), Odd(), Data(), int, Colour.RED, Model(name="n")]
        read = stored(Scrubber(["Zq9-bare"]).json(values))
        assert read[:6] == [read[0], "<builtins.object>", *read[2:4], "<builtins.int>", "red"]
        assert read[0].startswith("[application/octet-stream, 1 bytes, sha256:")
        assert read[2].endswith(".Odd>")
        assert "Zq9" not in str(read)
        assert read[6]["name"] == "n"

    def test_a_pydantic_class_is_its_schema(self) -> None:
        read = stored(Scrubber().params({"response_format": Model}))["response_format"]
        assert set(read["properties"]) == {"name", "password", "token"}

    def test_a_models_secret_fields_are_masked_among_parameters(self) -> None:
        read = stored(Scrubber().params({"user": Model(name="n")}))
        assert read == {"user": {"name": "n", "password": MASK, "token": MASK}}

    def test_a_value_that_holds_itself_ends(self) -> None:
        loop: dict[str, Any] = {"a": 1}
        loop["self"] = loop
        assert "[too deep]" in str(Scrubber().json(loop))
        stored(Scrubber().params({"x": loop, "y": {"token": loop}}))

    def test_a_value_nested_deeper_than_python_recurses_ends(self) -> None:
        deep: list[Any] = []
        for _ in range(50_000):
            deep = [deep]
        assert "[too deep]" in str(Scrubber().json(deep))
        while deep:  # taken apart by hand: freeing it in one go recurses too
            deep = deep[0]

    def test_one_value_in_very_many_places_is_written_in_some_of_them(self) -> None:
        value: list[Any] = ["x"]
        for _ in range(40):
            value = [value, value]
        seen = Scrubber().params({"metadata": {"mine": value}})
        assert seen is not None
        assert "[too deep]" in seen
        assert len(seen) < 1_000_000

    def test_a_number_with_thousands_of_digits_is_written(self) -> None:
        stored(Scrubber().json([10**5_000]))

    def test_hostile_json_text_is_scrubbed_as_text(self) -> None:
        assert Scrubber().json_text("[" * 100_000) == "[" * 100_000

    def test_none_stays_none(self) -> None:
        scrubber = Scrubber(redact=str.upper)
        assert (
            scrubber.text(None)
            is scrubber.json(None)
            is scrubber.error(None)
            is scrubber.json_text(None)
            is None
        )


class TestRedact:
    @given(nested(odd_atoms))
    def test_sees_each_text_once_without_secrets(self, value: Any) -> None:
        seen: list[str] = []
        plain = stored(Scrubber().json([value]))
        Scrubber(redact=lambda text: seen.append(text) or text).json(plain)
        assert seen == leaves(plain)

    def test_sees_no_secret(self) -> None:
        seen: list[str] = []
        Scrubber(["Zq9-secret"], lambda text: seen.append(text) or text).json(
            ["a Zq9-secret", {"b": "Zq9-secret"}]
        )
        assert seen == [f"a {MASK}", MASK]

    def test_what_it_gives_is_what_is_recorded(self) -> None:
        scrubber = Scrubber(redact=lambda text: text.replace("Ann", "<name>"))
        assert scrubber.text("Ann!") == scrubber.error("Ann!") == "<name>!"
        assert stored(scrubber.json([{"content": "Ann", "n": 1}])) == [{"content": "<name>", "n": 1}]
        assert stored(scrubber.params({"user": "Ann"})) == {"user": "<name>"}
        assert stored(scrubber.json_text('["Ann"]')) == ["<name>"]

    def test_what_it_gives_is_made_storable_too(self) -> None:
        assert Scrubber(redact=lambda _: "\ud800").text("x") == "\\ud800"

    @given(nested(st.just("bare text") | st.integers()))
    def test_raising_leaves_null_and_never_the_bare_text(self, value: Any) -> None:
        faults: list[BaseException] = []

        def redact(text: str) -> str:
            raise KeyError(text)

        scrubber = Scrubber([], redact, faults.append)
        for scrubbed in (scrubber.json(value), scrubber.params({"user": value}), scrubber.text("bare text")):
            assert "bare text" not in str(scrubbed)
        assert stored(scrubber.json(["bare text"])) == [None]
        assert faults
        assert "bare text" not in str(faults)

    @pytest.mark.parametrize("given", [None, 7, b"bytes", ["x"]])
    def test_giving_no_text_leaves_null(self, given: Any) -> None:
        faults: list[BaseException] = []
        assert Scrubber([], lambda _: given, faults.append).text("bare text") is None
        assert len(faults) == 1


class TestErrors:
    def test_what_looks_like_a_key_is_masked_in_errors_alone(self) -> None:
        text = "You sent sk-abcdefgh12345678, and your API key: tea"
        assert Scrubber().error(text) == f"You sent {MASK}, and your API key: {MASK}"
        assert Scrubber().text(text) == text


class TestParams:
    @pytest.mark.parametrize(
        "name",
        [
            "api_key",
            "apikey",
            "API-KEY",
            "key",
            "aws_secret_access_key",
            "aws_session_token",
            "azure_ad_token",
            "vertex_credentials",
            "private_key_id",
            "client_secret",
            "password",
            "headers",
            "extra_headers",
            "authorization",
            "proxy-authorization",
            "cookie",
            "token",
            "x-api-key",
            "subscription_key",
        ],
    )
    def test_secret_parameters_are_left_out_and_masked_further_in(self, name: str) -> None:
        assert is_secret_name(name)
        written = str(
            Scrubber().params({name: "hunter2", "extra_body": {name: "hunter2", "a": [{name: "hunter2"}]}})
        )
        assert "hunter2" not in written
        assert name not in stored(written)

    @pytest.mark.parametrize(
        "name",
        [
            "max_tokens",
            "max_completion_tokens",
            "prompt_cache_key",
            "temperature",
            "user",
            "tool_choice",
            "top_logprobs",
            "logit_bias",
            "stop",
            "api_base",
            "keywords",
            "monkey",
            "author",
            "metadata",
        ],
    )
    def test_what_only_sounds_secret_is_kept(self, name: str) -> None:
        assert stored(Scrubber().params({name: 7, "extra_body": {name: "x"}})) == {
            name: 7,
            "extra_body": {name: "x"},
        }

    def test_a_tool_with_a_property_called_token_keeps_its_shape(self) -> None:
        parameters = {
            "type": "object",
            "properties": {
                "token": {"type": "string", "maxLength": 9, "enum": ["a", None]},
                "city": {"type": "string"},
            },
            "required": ["token"],
        }
        tool = {"type": "function", "function": {"name": "log_in", "parameters": parameters}}
        read = stored(Scrubber().params({"tools": [tool]}))["tools"][0]
        properties = read["function"]["parameters"].pop("properties")
        assert set(properties["token"]) == {"type", "maxLength", "enum"}
        assert properties["token"]["maxLength"] == 9
        assert properties["city"] == {"type": "string"}
        assert read["function"] == {"name": "log_in", "parameters": {"type": "object", "required": ["token"]}}

    @given(with_a_secret(), st.sampled_from(["token", "password", "headers"]))
    def test_no_text_under_a_secret_name_is_written_known_or_not(
        self, case: tuple[str, Any], name: str
    ) -> None:
        secret, value = case
        assert secret not in str(Scrubber().params({"extra_body": {name: value}}))
