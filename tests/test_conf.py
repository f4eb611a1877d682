"""LoadGen's files: every line is what LoadGen makes of it, or an error that names it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen_generic.conf import KEYS, Setting, builtin_conf, check_model, model_names, read_conf
from loadgen_generic.conf.files import SCENARIOS, Conf, LineError, parse
from loadgen_generic.errors import RequestError

MODELS = ("resnet50", "bert", "wan-2.2-t2v-a14b")
# What LoadGen itself makes of lines: its answer, and what changed.
ASK_LOADGEN = """
import json, sys
import mlperf_loadgen as lg
def numbers(told):
    found = {name: getattr(told, name) for name in dir(told) if name[0] != "_"}
    return {k: v for k, v in found.items() if isinstance(v, (int, float))}
answers, plain = [], numbers(lg.TestSettings())
for text, model, scenario, kind in json.load(sys.stdin):
    with open("lines.conf", "w") as file:
        file.write(text)
    told = lg.TestSettings()
    code = told.FromConfig("lines.conf" if kind else "", model, scenario, kind)
    answers.append([code, {k: v for k, v in numbers(told).items() if v != plain[k]}])
print(json.dumps(answers))
"""


def ask_loadgen(
    directory: Path, questions: list[tuple[str, str, str, int]]
) -> list[tuple[int, dict[str, float]]]:
    child = subprocess.run(
        [sys.executable, "-c", ASK_LOADGEN],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        cwd=directory,
        check=True,
    )
    return [(code, changed) for code, changed in json.loads(child.stdout)]


def read(directory: Path, text: str, flag: str = "user_conf") -> Conf:
    path = directory / "some.conf"
    path.write_text(text, encoding="utf-8")
    return read_conf(path, flag, MODELS)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("*.*.min_duraton = 5", "there is no key min_duraton; did you mean min_duration (in ms)?"),
        ("*.*.min_duration_ms = 5", "did you mean min_duration (in ms)?"),
        ("*.*.xyz = 5", "known are min_duration, "),
        ("*.Offlin.min_duration = 5", "did you mean Offline?"),
        ("*.singlestream.min_duration = 5", "did you mean SingleStream?"),
        (
            "resnet.*.min_duration = 5",
            "there is no model resnet in LoadGen; did you mean resnet50?",
        ),
        ("min_duration = 5", "expected model.scenario.key, got min_duration"),
        ("*.*.min_duration", "with spaces"),
        ("*.*.min_duration=5", "with spaces"),
        ("*.*.min_duration: 5", "with spaces"),
        ("*.*.min_duration =", "with spaces"),
        ("*.*.min_duration = 5 # soon", "a comment needs a line of its own"),
        ("*.*.min_duration = 5 7", "expected one value"),
        ("#one two", "a space behind the #"),
        (
            "*.*.min_duration = 5s",
            "min_duration is a whole number of ms, in decimal digits, not 5s",
        ),
        ("*.*.min_duration = 1e3", "whole number"),
        ("*.*.min_duration = 010", "whole number"),
        ("*.*.min_duration = -1", "whole number"),
        ("*.*.min_query_count = 2.5", "whole number"),
        ("*.*.min_query_count = 0", "from 1 to"),
        ("*.*.min_duration = 99999999999999999999999", "from 0 to 86400000 ms"),
        ("*.Server.target_latency = 7.5", "--target_latency_ms takes fractions"),
        ("*.Server.target_latency_percentile = 0.99", "in %, so 0.99 should be 99"),
        ("*.Offline.target_qps = nan", "a number"),
        ("*.Offline.samples_per_query = 4", "no meaning in Offline; it applies to MultiStream"),
        ("*.Server.coalesce_queries = 2", "0 or 1"),
        ("*.*.qsl_rng_seed = 5", "use --seed"),
        ("*.*.mode = 1", "Use --mode"),
        ("*.*.accuracy_log_sampling_target = 9", "--audit"),
        ("*.*.use_token_latencies = 1", "tokens"),
    ],
)
def test_a_line_that_loadgen_would_not_heed(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, f"# first\n*.*.max_duration = 5\n\n{line}\n")
    assert "--user_conf" in str(caught.value)
    assert "line 4: " in str(caught.value)
    assert complaint in str(caught.value)


def test_a_key_twice_names_both_lines(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"line 2: .* in line 1 already"):
        read(tmp_path, "*.*.min_duration = 5\n*.*.min_duration = 6\n")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.conf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=r"no such file|not text"):
        read_conf(path, "audit", MODELS)


def test_an_audit_file_has_keys_of_its_own(tmp_path: Path) -> None:
    text = (
        "*.*.mode = 2\n*.*.accuracy_log_rng_seed = 720381539243781796\n"
        "*.*.accuracy_log_sampling_target = 4096\n*.*.test07_accuracy_threshold = 60.698\n"
    )
    assert len(read(tmp_path, text, "audit").settings) == 4
    for line, complaint in {
        "*.*.mode = 1": "has to be 2",
        "*.*.accuracy_log_probabilty = 1": "there is no key",
        "*.*.accuracy_log_probability = 1": "accuracy_log_sampling_target does the same",
        "*.*.test05_qsl_rng_seed = 1": "built-in",
    }.items():
        with pytest.raises(RequestError, match=f"--audit .*line 1: .*{complaint}"):
            read(tmp_path, line, "audit")


WORDS = st.text("abc_1", min_size=1, max_size=6)
SETTINGS = st.builds(
    Setting,
    st.sampled_from(("*", *MODELS)),
    st.sampled_from(("*", *SCENARIOS)),
    WORDS,
    st.from_regex(r"[0-9]{1,9}", fullmatch=True),
    st.just(0),
)
BLANK = st.text(" \t", max_size=2)


@settings(deadline=None)
@given(st.lists(SETTINGS, unique_by=lambda s: s.name, max_size=8), st.data())
def test_settings_come_back_as_written(written: list[Setting], data: st.DataObject) -> None:
    lines = []
    for each in written:
        lines += data.draw(st.lists(st.sampled_from(["", "# a = b", "#x", "  "]), max_size=2))
        around, inside = data.draw(BLANK), data.draw(BLANK) + " "
        lines.append(f"{around}{each.name}{inside}={inside}{each.text}{around}")
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    back = parse(end.join(lines)).settings
    assert [(s.name, s.text) for s in back] == [(s.name, s.text) for s in written]
    assert all(lines[s.line - 1].strip().startswith(s.name) for s in back)


@settings(deadline=None)
@given(st.text(st.sampled_from("*.=# \n\t015xab-")))
def test_any_text_is_parsed_or_refused_by_line(text: str) -> None:
    try:
        lines = [setting.line for setting in parse(text).settings]
    except LineError as error:
        lines = [error.line]
    assert lines == sorted(set(lines))
    assert all(text.split("\n")[line - 1].strip() for line in lines)


@pytest.fixture(scope="module")
def accepted() -> list[str]:
    """Files of one line for each key, scenario and some values that we accept."""
    found = []
    for key in KEYS:
        for scenario in ("*", *SCENARIOS):
            for value in ("0", "1", "2", "64", "12.5", "0x10"):
                text = f"*.{scenario}.{key} = {value}\n"
                try:
                    parse_checked(text)
                except RequestError:
                    continue
                found.append(text)
    return found


def parse_checked(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        read(Path(directory), text)


def test_loadgen_heeds_every_line_that_is_accepted(tmp_path: Path, accepted: list[str]) -> None:
    """A line with no effect in LoadGen would be one that we should have refused."""
    questions, expected = [], []
    for text in accepted:
        name, value = text.strip().split(" = ")
        scenario = name.split(".")[1]
        tested = (
            (KEYS[name.split(".")[2]].scenarios or SCENARIOS) if scenario == "*" else (scenario,)
        )
        for each in tested:
            questions.append((text, "*", each, 2))
            expected.append(float(int(value, 0)) if value.startswith("0x") else float(value))
    assert len(questions) > 150
    without_effect = []
    for question, value, (code, changed) in zip(
        questions, expected, ask_loadgen(tmp_path, questions), strict=True
    ):
        assert code == 0, question
        # A value that is LoadGen's default changes nothing.
        if not changed:
            without_effect.append(question[0])
        else:
            # As it stands, from % to a share, and from ms to ns.
            made = [number * scale for number in changed.values() for scale in (1, 100, 1e-6)]
            assert any(number == pytest.approx(value) for number in made), (question, changed)
    defaults = {"0", "1"}
    assert {text.split(" = ")[1].strip() for text in without_effect} <= defaults


def test_lookup_is_loadgens(tmp_path: Path) -> None:
    """Which of several lines counts: asked of LoadGen for every set of four."""
    places = ["resnet50.Offline", "*.Offline", "resnet50.*", "*.*"]
    questions, ours = [], []
    for chosen in range(1, 16):
        lines = [f"{p}.min_duration = {i + 1}" for i, p in enumerate(places) if chosen >> i & 1]
        text = "\n".join(lines)
        for model in ("resnet50", "bert", "*"):
            questions.append((text, model, "Offline", 2))
            line = parse(text).lookup(model, "Offline", "min_duration")
            ours.append({} if line is None else {"min_duration_ms": int(line.text)})
    assert [changed for _, changed in ask_loadgen(tmp_path, questions)] == ours


def test_the_builtin_conf_is_loadgens(tmp_path: Path) -> None:
    """The text found in the library gives what LoadGen makes of it."""
    questions = [("", m, s, 0) for m in (*model_names(), "*") for s in ("Offline", "MultiStream")]
    for (_, model, scenario, _), (code, made) in zip(
        questions, ask_loadgen(tmp_path, questions), strict=True
    ):
        assert code == 0
        for key, attribute in {
            "min_duration": "min_duration_ms",
            "min_query_count": "min_query_count",
            "qsl_rng_seed": "qsl_rng_seed",
            "performance_sample_count_override": "performance_sample_count_override",
        }.items():
            line = builtin_conf().lookup(model, scenario, key)
            default = 100 if key == "min_query_count" else 0
            assert made.get(attribute, default) == (int(line.text) if line else default)


def test_a_model_that_loadgen_does_not_know() -> None:
    check_model("resnet50")
    with pytest.raises(RequestError, match=r"--mlperf_model resnet: .*Did you mean resnet50\?"):
        check_model("resnet")
    with pytest.raises(RequestError, match=r"Known are resnet50, .*3d-unet"):
        check_model("my_own")
