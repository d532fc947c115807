from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import tyro

from scot import flags
from scot.errors import Conflict, InvalidInput


@dataclass(frozen=True)
class Train:
    """Train something."""

    data: Path = Path("data")
    """Where the data lies."""
    batch_size: int = 64
    rate: float | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    resume: bool = True
    once: bool = False
    sizes: tuple[int, ...] = (1,)
    edit: str = ""


@dataclass(frozen=True)
class Loss:
    weight: float = 1.0
    """Of the loss."""
    mean: bool = False


@dataclass(frozen=True)
class Nested:
    """Train something with a loss."""

    steps: int = 10
    loss: Loss = field(default_factory=Loss)


@dataclass(frozen=True)
class Run:
    """Run what trains, twice nested and with a default of its own."""

    training: Nested = field(default_factory=lambda: Nested(steps=7))
    name: str = ""


@dataclass(frozen=True)
class Index:
    """Index a folder."""

    folder: tyro.conf.Positional[Path]
    qdrant_url: str = ""


def parse(*argv: str) -> Train:
    return flags.parse(Train, argv, prog="train")


def test_every_flag_has_its_default() -> None:
    assert parse() == Train()


def test_flags_are_read() -> None:
    argv = "--data d --batch-size 8 --rate 1e-3 --device cuda --no-resume --once --sizes 1 2 3 --edit red"
    assert parse(*argv.split()) == Train(Path("d"), 8, 1e-3, "cuda", False, True, (1, 2, 3), "red")


def test_every_flag_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "DATA": "with space",
        "BATCH_SIZE": "8",
        "RATE": "-0.5",
        "DEVICE": "cuda",
        "RESUME": "no",
        "ONCE": "1",
        "SIZES": "1 2 3",
        "EDIT": "--not-a-flag",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"SCOT_{name}", value)
    assert parse() == Train(Path("with space"), 8, -0.5, "cuda", False, True, (1, 2, 3), "--not-a-flag")


def test_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"BATCH_SIZE": "8", "RESUME": "0", "SIZES": "4 5", "DATA": "d"}.items():
        monkeypatch.setenv(f"SCOT_{name}", value)
    parsed = parse("--batch-size", "9", "--resume", "--sizes", "6")
    assert parsed == Train(data=Path("d"), batch_size=9, resume=True, sizes=(6,))


def test_what_is_within_has_flags_and_variables_like_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flags.parse(Nested, ["--weight", "2", "--steps", "3"], prog="train") == Nested(3, Loss(2.0))
    monkeypatch.setenv("SCOT_WEIGHT", "4")
    monkeypatch.setenv("SCOT_MEAN", "yes")
    assert flags.parse(Nested, [], prog="train") == Nested(10, Loss(4.0, True))
    with pytest.raises(SystemExit):
        flags.parse(Nested, ["--help"], prog="train")
    assert "Of the loss." in capsys.readouterr().out


def test_flags_nest_to_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert flags.names(Run) == ["steps", "weight", "mean", "name"]
    assert flags.parse(Run, [], prog="run", environment={}) == Run()
    monkeypatch.setenv("SCOT_WEIGHT", "4")
    monkeypatch.setenv("SCOT_MEAN", "yes")
    run = flags.parse(Run, ["--name", "a"], prog="run")
    assert run == Run(Nested(7, Loss(4.0, True)), "a")
    assert flags.parse(Run, flags.written(flags.flat(run)), prog="run", environment={}) == run


def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOT_BATCH_SIZE", "")
    assert parse().batch_size == 64


def test_a_positional_argument_is_not_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOT_FOLDER", "elsewhere")
    monkeypatch.setenv("SCOT_QDRANT_URL", "http://qdrant:6333")
    assert flags.parse(Index, ["here"], prog="index") == Index(Path("here"), "http://qdrant:6333")


@pytest.mark.parametrize(
    ("variable", "value"), [("BATCH_SIZE", "many"), ("DEVICE", "abacus"), ("ONCE", "perhaps"), ("RATE", "fast")]
)
def test_a_malformed_variable_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    monkeypatch.setenv(f"SCOT_{variable}", value)
    with pytest.raises(SystemExit) as stopped:
        parse()
    assert stopped.value.code == 2
    assert value in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--batch-size", "many"], ["--batchsize", "8"], ["stray"], ["--batch-size"]])
def test_a_malformed_flag_ends_with_2_and_says_why(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*argv)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.err
    assert not captured.out


@pytest.mark.parametrize(
    ("config", "argv", "message"),
    [
        (Train, ["--batch-size", "many"], "--batch-size: invalid literal for int() with base 10: 'many'"),
        (Train, ["--device", "abacus"], "--device: 'abacus' is not one of cpu, cuda"),
        (Train, ["stray"], "unrecognized options: stray"),
        (Train, ["--batch-size"], "--batch-size: a value is missing"),
        (Index, [], "missing: folder"),
    ],
)
def test_the_flags_of_another_process_are_checked_with_a_sentence(
    config: type, argv: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by this test: ``tyro._errors.on_parse_error`` and its events, which are not tyro's public API."""
    monkeypatch.setenv("SCOT_BATCH_SIZE", "this process's own")
    with pytest.raises(InvalidInput) as refused:
        flags.check(config, argv, prog="train")
    assert str(refused.value) == message
    assert capsys.readouterr() == ("", "")


def test_help_shows_the_flags_and_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("--help")
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "--batch-size" in shown
    assert "Where the data lies." in shown
    assert "SCOT_SOME_FLAG" in shown


def test_run_returns_what_main_returns() -> None:
    assert flags.run("train", lambda config: config.batch_size, Train, ["--batch-size", "3"]) == 3
    assert flags.run("train", lambda config: None, Train, []) == 0


def test_run_reads_the_command_line_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train", "--batch-size", "5"])
    assert flags.run("train", lambda config: config.batch_size, Train) == 5


def test_run_tells_an_expected_error_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(config: Train) -> None:
        raise Conflict("port 9000 is in use")

    assert flags.run("scot serve", main, Train, []) == 1
    assert capsys.readouterr().err == "scot serve: port 9000 is in use\n"


@dataclass(frozen=True)
class Careful:
    """Refuses some of what it can be told."""

    size: int = 1
    """At least 1."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InvalidInput(f"size must be at least 1, not {self.size}")


def test_run_tells_what_a_config_refuses_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert flags.run("careful", lambda config: config.size, Careful, ["--size", "3"]) == 3
    assert flags.run("careful", lambda config: config.size, Careful, ["--size", "0"]) == 1
    assert capsys.readouterr().err == "careful: size must be at least 1, not 0\n"


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    listing = "from scot import flags; from tests.unit.commands.test_flags import Careful; import sys;"
    listing += "sys.exit(flags.run('list', lambda c: [print('line') for _ in range(100_000)] and 0, Careful, []))"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(listing)} | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "line\n", "")


def test_run_does_not_hide_a_bug() -> None:
    def main(config: Train) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        flags.run("train", main, Train, [])


def test_ctrl_c_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def main(config: Train) -> None:
        raise KeyboardInterrupt

    assert flags.run("train", main, Train, []) == 130
    assert "interrupted" in capsys.readouterr().err


@dataclass(frozen=True)
class Find:
    """Find images."""

    folder: tyro.conf.Positional[Path] = Path("here")
    edit: flags.Phrases = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    sizes: tuple[int, ...] = (1,)
    item_id: str = ""
    image: Path | None = None
    limit: int = 10


def find(*argv: str, environment: dict[str, str] | None = None) -> Find:
    return flags.parse(Find, argv, prog="scot find", environment=environment or {})


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--edit", "a", "--edit", "b"], Find(edit=["a", "b"])),
        (
            ["--source", "A", "--source", "B", "C", "--limit", "2", "--source=D"],
            Find(source=["A", "B", "C", "D"], limit=2),
        ),
        (["--sizes", "2", "--sizes", "3"], Find(sizes=(2, 3))),
        (["--edit", "a", "--source", "A", "--edit", "b c", "d e"], Find(edit=["a", "b c", "d e"], source=["A"])),
        (["there", "--edit", "a"], Find(Path("there"), edit=["a"])),
        (["--edit"], Find()),
    ],
)
def test_every_value_of_a_repeated_list_flag_is_taken(argv: list[str], expected: Find) -> None:
    assert find(*argv) == expected


def test_a_list_flag_wins_over_its_variable() -> None:
    assert find("--source", "A", "--source", "B", environment={"SCOT_SOURCE": "C D"}).source == ["A", "B"]
    assert find(environment={"SCOT_SOURCE": "C -D"}).source == ["C", "-D"]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (
            ["--edit", "-no sleeves", "--edit", "--much- shorter", "-v"],
            Find(edit=["-no sleeves", "--much- shorter", "-v"]),
        ),
        (["--edit=--no-sleeves"], Find(edit=["--no-sleeves"])),
        (["--item-id", "-7a", "--image", "-.png"], Find(item_id="-7a", image=Path("-.png"))),
    ],
)
def test_a_value_may_begin_with_a_dash(argv: list[str], expected: Find) -> None:
    """Named by this test: ``tyro._backends._tyro_backend._LiteralValue``, which is not tyro's public API."""
    assert find(*argv) == expected


@pytest.mark.parametrize(
    ("argv", "environment"),
    [
        (["--edit", "make", "it", "blue"], {}),
        (["--edit", "in red", "make", "it"], {}),
        ([], {"SCOT_EDIT": "make it blue"}),
    ],
)
def test_a_text_without_quotes_is_reported(
    argv: list[str], environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        find(*argv, environment=environment)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith('scot find: put quotes around a text, --edit "')
    assert message.count("\n") == 1
    if argv:
        with pytest.raises(InvalidInput, match="put quotes around a text"):
            flags.check(Find, argv, prog="scot find")


def test_words_that_are_texts_of_their_own_are_taken() -> None:
    assert find("--edit", "blue", "--edit", "striped").edit == ["blue", "striped"]
    assert find("--edit", "striped", "with long sleeves", "blue").edit == ["striped", "with long sleeves", "blue"]


@pytest.mark.parametrize("argv", [["--edit", "caf\udce9"], ["--item-id", "caf\udce9"], ["--source", "a", "caf\udce9"]])
def test_text_that_is_not_utf8_is_one_sentence(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        find(*argv)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"scot find: {argv[0]}: b'caf\\xe9' is not UTF-8 text\n"


def test_a_file_whose_name_is_not_utf8_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "caf\udce9"
    file.touch()
    assert find("--image", str(file), "--source", str(file)) == Find(image=file, source=[str(file)])


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfscot_key",
        b"scot_key\r\n\n",
        b"Bearer scot_key\n",
        "\ufeffbearer  scot_key\r\n".encode("utf-16-le"),
    ],
)
def test_a_key_file_as_editors_and_shells_write_it(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    assert flags.secret("API_KEY", tmp_path / "key") == "scot_key"


def test_a_key_in_its_variable_may_be_the_value_of_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOT_API_KEY", "Bearer scot_key\n")
    assert flags.secret("API_KEY", None) == "scot_key"
