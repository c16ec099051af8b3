"""The command line, run as a user runs it: in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import mirrorkit as mk
from mirrorkit.records import SCHEMA
from mirrorkit.simulator import API_KEY

REQUESTS = 60
CANARY = "sk-canary-5f1d0c7b9a3e4d2f8b6a"
NO_WAY_OUT = "http://127.0.0.1:9"
SIDES = ("primary", "silent")
# what is known of every call that was answered: LiteLLM says it, or mirrorkit measures it
KNOWN = [
    *("latency_s", "overhead_s", "input_tokens", "output_tokens", "usage_source", "cost_usd"),
    *("attempts", "fell_back", "cache_hit", "model", "provider", "deployment_id", "finish_reason"),
]
HEAD = SCHEMA.frame().columns[: SCHEMA.frame().columns.index("primary_status")]


@dataclass(frozen=True)
class Demo:
    done: subprocess.CompletedProcess[str]
    folder: Path

    @property
    def frame(self) -> pl.DataFrame:
        return mk.load(self.folder / "pairs.parquet").frame


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mirrorkit", *map(str, arguments)]


def mirrorkit(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """With a key in the environment, and no way out: the proxy that is named answers nothing."""
    unset = ("LITELLM_LOCAL_MODEL_COST_MAP", "NO_PROXY", "no_proxy")
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    environment |= dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"), NO_WAY_OUT)
    environment |= {"OPENAI_API_KEY": CANARY, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo") / "made" / "if missing"
    return Demo(mirrorkit("demo", "--requests", REQUESTS, "--out", folder, "--seed", 4), folder)


def test_it_succeeds_and_leaves_three_files(demo: Demo) -> None:
    assert demo.done.returncode == 0, demo.done.stderr
    names = sorted(path.name for path in demo.folder.iterdir())
    assert names == ["pairs.csv", "pairs.parquet", "report.html"]


def test_it_prints_the_comparison_and_that_all_was_simulated(demo: Demo) -> None:
    said = demo.done.stdout
    assert str(mk.load(demo.folder / "pairs.csv").compare()) in said
    assert f"{REQUESTS} pairs" in said
    assert str(demo.folder) in said
    assert "Everything here was simulated" in said.splitlines()[-1]


def test_it_says_what_it_does_first_and_shows_a_progress_bar_and_nothing_else(demo: Demo) -> None:
    assert demo.done.stdout.startswith(f"Mirroring {REQUESTS} simulated requests from gpt-4o to gpt-4o-mini")
    shown = [line for line in re.split(r"[\r\n]+", demo.done.stderr) if line]
    assert f"{REQUESTS}/{REQUESTS}" in shown[-1]
    assert [line for line in shown if not line.startswith("mirroring:")] == []


def test_there_is_one_row_for_each_request_and_a_control_for_some(demo: Demo) -> None:
    silent, control = (demo.frame.filter(arm=arm) for arm in ("candidate", "control"))
    assert silent.height == silent["request_id"].n_unique() == REQUESTS
    assert 0 < control.height == control["request_id"].n_unique() < REQUESTS / 2
    assert demo.frame["pair_id"].n_unique() == demo.frame.height == silent.height + control.height


def test_the_traffic_is_varied(demo: Demo) -> None:
    frame = demo.frame
    assert frame.filter(arm="candidate")["stream"].sum() == REQUESTS // 3
    assert {"support", "extraction", "tools"} <= set(frame["tags"].explode())
    assert frame["primary_tool_calls"].is_not_null().any()
    statuses = pl.concat([frame[f"{side}_status"] for side in SIDES])
    assert set(statuses) == {"ok", "error"}


def test_what_is_known_of_a_request_is_never_null(demo: Demo) -> None:
    assert nulls(demo.frame, HEAD) == []


@pytest.mark.parametrize("side", SIDES)
def test_what_is_known_of_an_answer_is_never_null(demo: Demo, side: str) -> None:
    answered = demo.frame.filter(pl.col(f"{side}_status") == "ok")
    assert answered.height > REQUESTS / 2
    assert nulls(answered, [f"{side}_{name}" for name in KNOWN]) == []
    said = pl.any_horizontal(pl.col(f"{side}_output", f"{side}_tool_calls").is_not_null())
    assert answered.select(said.all()).item()
    assert nulls(answered.filter("stream"), [f"{side}_ttft_s"]) == []


@pytest.mark.parametrize("side", SIDES)
def test_of_a_failure_the_error_is_known_and_the_rest_is_not_made_up(demo: Demo, side: str) -> None:
    failed = demo.frame.filter(pl.col(f"{side}_status") == "error")
    known = ("error_type", "error_message", "latency_s", "attempts", "model", "provider", "deployment_id")
    assert nulls(failed, [f"{side}_{name}" for name in known]) == []
    unknown = failed.select(f"{side}_cost_usd", f"{side}_output_tokens", f"{side}_finish_reason")
    assert all(column.is_null().all() for column in unknown)


@pytest.mark.parametrize("side", SIDES)
def test_simulated_models_have_a_price(demo: Demo, side: str) -> None:
    assert (demo.frame[f"{side}_cost_usd"].drop_nulls() > 0).all()


def test_both_files_hold_the_same_pairs(demo: Demo) -> None:
    assert_frame_equal(mk.load(demo.folder / "pairs.csv").frame, demo.frame)


def test_the_report_needs_no_network(demo: Demo) -> None:
    page = (demo.folder / "report.html").read_text(encoding="utf-8")
    # Plotly's source names addresses that it does not load by itself; the page around it must name none
    outside = re.sub(r"<script\b[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert len(outside) < len(page)
    assert re.findall(r"(?:src|href)\s*=|@import|url\(\s*['\"]?(?:https?:)?//", outside) == []
    assert re.findall(r"<script\b[^>]*\bsrc\b", page) == []


def test_no_key_is_in_the_output_or_in_a_file(demo: Demo) -> None:
    texts = [demo.done.stdout, demo.done.stderr, demo.frame.write_json()]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in demo.folder.iterdir()]
    for text in texts:
        assert API_KEY not in text
        assert CANARY not in text
        assert "Bearer" not in text


def test_a_report_is_made_without_a_notebook(demo: Demo, tmp_path: Path) -> None:
    out = tmp_path / "it.html"
    gates = ("--gate", "latency=5", "--gate", "errors=0.9")
    done = mirrorkit(
        "report", demo.folder / "pairs.parquet", "--out", out, "--title", "July?", "--examples", 3, *gates
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"Recording: \d+ pairs, chat → candidate, control, .*", lines[0])
    assert "candidate" in lines[1]
    assert lines[2] == f"Written to {out}"
    page = out.read_text(encoding="utf-8")
    assert "<title>July?</title>" in page
    assert page.count('<details class="example"') == 3
    assert "latency &lt; ×5" in page


@pytest.mark.slow
def test_a_report_is_made_of_whatever_can_be_loaded(demo: Demo, tmp_path: Path) -> None:
    """Several files as one, by a glob, with no more than their place said."""
    for name in ("one", "two"):
        pairs = demo.frame.with_columns(pl.format(f"{name} {{}}", "pair_id").alias("pair_id"))
        mk.Recording(pairs).to_csv(tmp_path / f"{name}.csv")
    done = mirrorkit("report", "*.csv", "--slo-s", "2", "--examples", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{2 * demo.frame.height} pairs" in done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The pairs that differ most" not in page
    assert "over slo" in page


@pytest.mark.slow
def test_a_recording_given_twice_is_counted_once(demo: Demo, tmp_path: Path) -> None:
    pairs = demo.folder / "pairs.parquet"
    done = mirrorkit("report", pairs, pairs, "--examples", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Recording: {demo.frame.height} pairs, ")
    assert done.stderr == (
        f"mirrorkit: counted once, as they came twice (same pair_id): {demo.frame.height} pairs\n"
    )


@pytest.mark.slow
def test_a_gate_on_a_metric_of_ones_own_takes_another_gate(demo: Demo, tmp_path: Path) -> None:
    recording = mk.Recording(demo.frame)
    recording.compare(metrics={"good": lambda row: 1.0}, gates={"good": 0.9})
    recording.to_parquet(tmp_path / "own.parquet")
    refused = mirrorkit("report", "own.parquet", cwd=tmp_path)
    assert refused.returncode == 2
    assert "'good'" in refused.stderr
    assert "--gate" in refused.stderr
    assert "metrics=" not in refused.stderr
    done = mirrorkit("report", "own.parquet", "--gate", "latency=5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_title_that_is_no_text_can_be_read(demo: Demo, tmp_path: Path) -> None:
    """As of a terminal whose encoding is not the locale's."""
    out = tmp_path / "report.html"
    done = mirrorkit("report", demo.folder / "pairs.parquet", "--out", out, "--title", "July \udcff")
    assert done.returncode == 0, done.stderr
    assert "<title>July ⟨U+DCFF⟩</title>" in out.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "RECORDING"),
        (("none.parquet",), "none.parquet"),
        (("none/*.parquet",), "none/*.parquet"),
        (("a file",), "a file"),
        (("runs/july",), "there is nothing at 'runs/july': name a journal's folder"),
        (("broken.csv",), "broken.csv"),
        ((".",), "no journal in the folder"),
        (("empty.csv",), "no pairs to compare"),
        (("empty.csv", "--out", "none/report.html"), "there is no folder none"),
        (("empty.csv", "--out", "."), "it is a folder"),
        (("empty.csv", "--gate", "latency"), "'latency'"),
        (("empty.csv", "--gate", "speed=2"), "'speed'"),
        (("empty.csv", "--gate", "latency=nan"), "'latency'"),
        (("empty.csv", "--slo-s", "-1"), "slo_s=-1"),
        (("empty.csv", "--examples", "-1"), "'-1'"),
    ],
)
def test_a_report_that_cannot_be_made_is_one_plain_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    for name in ("a file", "broken.csv"):
        (tmp_path / name).write_text("x\n1\n", encoding="utf-8")
    mk.Recording(SCHEMA.frame()).to_csv(tmp_path / "empty.csv")
    done = mirrorkit("report", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert says in done.stderr
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "command"),
        (("unknown",), "'unknown'"),
        (("demo", "--requests", "0"), "'0'"),
        (("demo", "--requests", "many"), "'many'"),
        (("demo", "--requests", "1.5"), "'1.5'"),
        (("demo", "--seed", "x"), "'x'"),
        (("demo", "--out", "a file"), "a file"),
        (("demo", "--out", "a file/below"), "a file/below"),
    ],
)
def test_what_cannot_be_done_is_one_plain_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    (tmp_path / "a file").write_text("kept", encoding="utf-8")
    done = mirrorkit(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]


@pytest.mark.slow
def test_an_interrupt_ends_it_with_one_line_and_exit_code_130(tmp_path: Path) -> None:
    """Once the bar shows, as an interrupt between two requests is what a person sends."""
    process = subprocess.Popen(
        command("demo", "--requests", 10_000, "--out", tmp_path),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert isinstance(process.stderr, BufferedReader)
        try:
            # not at the bar's first sight: tqdm is still making it then
            while not re.search(rb"[1-9]\d*/10000", process.stderr.read1()):
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read().decode()
        finally:
            process.kill()
    assert process.returncode == 130
    assert rest.endswith("\nmirrorkit: interrupted\n")
    assert "Traceback" not in rest


def test_it_says_its_version() -> None:
    done = mirrorkit("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "mirrorkit")
    assert re.fullmatch(r"\d+(\.\d+)+\S*", done.stdout.split()[1])


def nulls(frame: pl.DataFrame, columns: list[str]) -> list[str]:
    return [name for name in columns if frame[name].null_count()]
