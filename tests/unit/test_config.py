"""Options: the sources of values, refusals, and secrets that are never shown."""

import argparse
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import configargparse
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geventjob.config import COMMANDS, as_ini, kinds, options, parse, parse_known, reference
from geventjob.config.ini import line, plain
from geventjob.config.options import OPTIONS, default_data_dir
from geventjob.config.parser import OptionParser
from geventjob.masking import mask_arguments

TOP = Path(__file__).parents[2]
LOGIN = ["--ss-user=super", "--ss-pass=hunter2"]
NAMED = {"executor": LOGIN, "distributor": [*LOGIN, "jobs_cleanup"]}


@pytest.fixture
def ini(tmp_path: Path) -> Any:
    def write(text: str, mode: int = 0o600) -> Any:
        file = tmp_path / "geventjob.ini"
        file.write_text(text)
        file.chmod(mode)
        return str(file)

    return write


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Parse wrong usage, and return the text of its one line on stderr."""

    def run(*argv: Any, command: str = "server", environ: Any = None) -> Any:
        with pytest.raises(SystemExit) as ended:
            parse(command, list(argv), environ or {})
        out, err = capsys.readouterr()
        assert ended.value.code == 2
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith(f"{COMMANDS[command]}: ")
        return err.strip().removeprefix(f"{COMMANDS[command]}: ")

    return run


# --- where a value comes from


def test_the_flags_of_slipstream_are_kept() -> None:
    daemon_args = (
        "--ss-url=https://nuv.la:443 --ss-user=super --ss-pass=supeR8-supeR8 --zk-hosts=zk.local:2181"
        " --threads=8 --es-hosts-list=es.local"
    )
    settings = parse("executor", shlex.split(daemon_args), {})
    assert settings.ss_url == "https://nuv.la:443"
    assert (settings.ss_user, settings.ss_pass) == ("super", "supeR8-supeR8")
    assert settings.zk_hosts == "zk.local:2181"
    assert settings.threads == 8
    assert settings.es_hosts_list == ["es.local"]


@pytest.mark.parametrize(
    "argv",
    [
        ["--zk-hosts=a:1,b:2,c"],
        ["--zk-hosts", "a:1", "b:2", "c"],
        ["--zk-hosts", "a:1,b:2", "c"],
        ["--zk-hosts", "a:1", "--threads", "3", "--zk-hosts=b:2,c"],
    ],
)
def test_hosts_are_joined_by_commas_or_several_words(argv: Any) -> None:
    assert parse("executor", LOGIN + argv, {}).zk_hosts == "a:1,b:2,c"


def test_a_distributors_name_is_not_taken_for_a_host() -> None:
    settings = parse("distributor", [*LOGIN, "--zk-hosts", "a:1", "jobs_cleanup", "vms_cleanup"], {})
    assert (settings.zk_hosts, settings.names) == ("a:1", ["jobs_cleanup", "vms_cleanup"])
    settings = parse("distributor", ["one", "--zk-hosts", "a:1", "two", *LOGIN, "three"], {"GEVENTJOB_NAME": "n"})
    assert (settings.zk_hosts, settings.names) == ("a:1", ["one", "two", "three"])


def test_a_flag_counts_before_the_environment_before_the_file_before_the_default(ini: Any) -> None:
    file = ini("port = 3\nhost = 0.0.0.0\nname = from-file\n")
    environ = {"GEVENTJOB_PORT": "2", "GEVENTJOB_HOST": "127.0.0.2"}
    settings = parse("server", ["-c", file, "--port=1"], environ)
    assert (settings.port, settings.host, settings.name) == (1, "127.0.0.2", "from-file")
    assert settings.session_timeout == 10.0


@pytest.mark.parametrize("option", [o for o in OPTIONS if not o.secret], ids=lambda o: o.name)
def test_every_option_is_read_from_all_three_places(option: Any, ini: Any, tmp_path: Path) -> None:
    command = option.commands.split()[-1]
    value, read = sample(option, tmp_path)
    dest = option.dest
    named = [*NAMED.get(command, []), *(f"--{name}={sample(of, tmp_path)[0]}" for name, of in beside(option))]
    flag = [f"--{option.name}"] if option.switch else [f"--{option.name}={value}"]
    assert getattr(parse(command, [*flag, *named], {}), dest) == read
    assert getattr(parse(command, named, {option.variable: value}), dest) == read
    assert getattr(parse(command, ["-c", ini(f"{option.name} = {value}"), *named], {}), dest) == read


def beside(option: Any) -> Any:
    """Return the options that an option needs beside it."""
    pairs = [("ss-key", "ss-secret-file"), ("es-user", "es-pass-file"), ("tls-key", "tls-cert")]
    names = [other for pair in pairs if option.name in pair for other in pair if other != option.name]
    return [(o.name, o) for o in OPTIONS if o.name in names]


def sample(option: Any, tmp_path: Path) -> Any:
    """Return a value as text that is not the default, and the value that the parser reads."""
    file = tmp_path / "file"
    file.write_text("x")
    known = {
        kinds.text: ("some text", "some text"),
        kinds.flag: ("true", True),
        kinds.seconds: ("1.5", 1.5),
        kinds.days: ("3", 3.0),
        kinds.count: ("77", 77),
        kinds.port: ("77", 77),
        kinds.retries: ("77", 77),
        kinds.age: ("77", 77),
        kinds.share: ("9", 9),
        kinds.host: ("::1", "::1"),
        kinds.size: ("900k", 921_600),
        kinds.url: ("https://a:1", "https://a:1"),
        kinds.node_name: ("M. Garrison 7", "M. Garrison 7"),
        kinds.root: ("/some/root/", "/some/root"),
        kinds.index_prefix: ("other-1", "other-1"),
        kinds.level: ("DEBUG", "debug"),
        kinds.log_format: ("JSON", "json"),
        kinds.log_jobs: ("failed", "failed"),
        kinds.path: (str(tmp_path / "new"), str(tmp_path / "new")),
        kinds.readable: (str(file), str(file)),
    }
    if option.kind in known:
        return known[option.kind]
    several = {
        "ss-url": ("https://a:1/,http://b", "https://a:1,http://b"),
        "zk-hosts": ("a:1, [::1]:2", "a:1,[::1]:2"),
        "es-hosts-list": ("a:1,https://u:p@b", ["a:1", "https://u:p@b"]),
        "distributor": ("one,two", ["one", "two"]),
        "http-refuse": ("10.1.0.0/16,link-local", ["10.1.0.0/16", "link-local"]),
    }
    return several.get(option.name) or (f"{tmp_path},{tmp_path}", [str(tmp_path), str(tmp_path)])


def test_an_empty_variable_or_line_is_not_given(ini: Any) -> None:
    settings = parse("server", ["-c", ini("port =\nname =  \n")], {"GEVENTJOB_HOST": "", "GEVENTJOB_PORT": " "})
    assert (settings.port, settings.host) == (8200, "127.0.0.1")


def test_a_switch_in_the_file(ini: Any) -> None:
    for text, value in (("demo", True), ("demo = yes", True), ("demo = off", False), ("demo =", False)):
        assert parse("up", ["-c", ini(text)], {}).demo is value


def test_a_switch_set_to_false_in_the_environment_counts_before_the_file(ini: Any) -> None:
    assert parse("up", ["-c", ini("demo = true")], {"GEVENTJOB_DEMO": "false"}).demo is False


def test_values_of_the_file_are_taken_as_they_stand(ini: Any) -> None:
    settings = parse("executor", ["-c", ini("\n# a comment\nss-user = a%(b)s#c\nss-pass = [x]=;#'\"\n")], {})
    assert (settings.ss_user, settings.ss_pass) == ("a%(b)s#c", "[x]=;#'\"")


@pytest.mark.parametrize(
    "value",
    ["x", '"x"', "'x'", "x # note", "x ;note", "x\t# note", '"x" # note', '"x # y"', '"x', "x#y", "'x\"", '"x" y "z"'],
)
def test_quotes_and_notes_are_read_as_slipstreams_parser_reads_them(value: Any, ini: Any) -> None:
    old = configargparse.DefaultConfigFileParser().parse(io.StringIO(f"ss-pass = {value}"))
    settings = parse("executor", ["-c", ini(f"ss-user = me # a note\nss-pass = {value}\nthreads = '3'  # note\n")], {})
    assert (settings.ss_user, settings.ss_pass, settings.threads) == ("me", old["ss-pass"], 3)


def test_a_password_that_is_cut_at_a_note_is_warned_about_without_its_value(
    ini: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for value, warned in (
        ("hunter2 # x", True),
        ('"hunter2 # x"', False),
        ("hunter2#x", False),
        ('"hunter2" # x', False),
    ):
        parse("executor", ["-c", ini(f"ss-user = me\nss-pass = {value}\n")], {})
        said = capsys.readouterr().err
        assert ("where a note begins" in said) is warned
        assert "hunter" not in said


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], include_characters=" ;#'\""), min_size=1))
def test_what_is_written_into_a_file_is_read_from_it_again(value: Any) -> None:
    assume(not re.search(r"'\s+[;#]|\"\s+[;#]", value))
    assert plain(line("data-dir", value).partition("=")[2]) == value


def test_a_list_in_the_file_may_take_several_lines(ini: Any, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    file = ini(f"[executor]\nactions-dir = {tmp_path}/one\n    {tmp_path}/two\nthreads = 4\n")
    settings = parse("executor", ["-c", file, *LOGIN], {})
    assert settings.actions_dir == [f"{tmp_path}/one", f"{tmp_path}/two"]
    assert settings.threads == 4


def test_rights_have_a_section_of_their_own(ini: Any) -> None:
    file = ini("port = 1\n[rights]\nAlice@x.org = report_*, mirror # both\n* = ns:other\n")
    rights = {"Alice@x.org": ["report_*", "mirror"], "*": ["ns:other"]}
    assert parse("server", ["-c", file], {}).rights == rights
    up = parse("up", ["-c", file], {})
    assert parse("server", ["-c", ini(as_ini(up, "server"))], {}).rights == rights
    assert "rights" not in as_ini(up, "executor")


def test_timeouts_have_a_section_of_their_own(ini: Any) -> None:
    file = ini("# first\nthreads = 4\n[timeouts]\nCleanup_Jobs = 3600\nns:other = 0.5\n[more]\nname = n\n")
    settings = parse("executor", ["-c", file, *LOGIN], {})
    assert settings.timeouts == {"Cleanup_Jobs": 3600.0, "ns:other": 0.5}
    assert (settings.threads, settings.name) == (4, "n")
    assert parse("executor", LOGIN, {}).timeouts == {}


def test_settings_of_two_processes_share_nothing() -> None:
    first = parse("up", [], {})
    first.distributor.append("mine")
    first.timeouts["mine"] = 1.0
    assert parse("up", [], {}).distributor == []
    assert parse("up", [], {}).timeouts == {}


def test_the_default_name_is_host_and_pid() -> None:
    assert parse("server", [], {}).name.endswith(f"-{os.getpid()}")


def test_the_default_data_dir_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert default_data_dir() == "/somewhere/geventjob"
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert parse("server", [], {}).data_dir == "/home/me/.local/state/geventjob"


NO_HOME = """
import pwd, sys
def missing(*_): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = missing
from geventjob.config import parse
settings = parse(sys.argv[1], sys.argv[2:])
print(repr(settings.data_dir))
"""
"""A user without an entry in the password file, as in a container."""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_user_without_a_home_is_told_what_is_needed(command: str, tmp_path: Path) -> None:
    def run(*argv: Any) -> Any:
        words = [sys.executable, "-c", NO_HOME, command, *argv, *NAMED.get(command, [])]
        ran = subprocess.run(words, env={}, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in ran.stderr
        return ran.returncode, ran.stdout.strip(), ran.stderr

    needed = f"{COMMANDS[command]}: --data-dir is needed: the user of this process has no home folder\n"
    assert run() == ((0, "''", "") if command == "client" else (2, "", needed))
    assert run(f"--data-dir={tmp_path}") == (0, repr(str(tmp_path)), "")
    if command in ("executor", "distributor"):
        assert run("--zk-hosts=zk:2181") == (0, "''", "")
    assert "no home folder" in run("--data-dir=~/here")[2]


def test_another_command_gets_the_same_settings_by_a_file(ini: Any, tmp_path: Path) -> None:
    up = parse("up", ["-c", ini("threads = 3\n[timeouts]\na = 0.1"), f"--actions-dir={tmp_path},/", "--port=0"], {})
    file = tmp_path / "child.ini"
    file.write_text(as_ini(up, "executor"))
    executor = parse("executor", ["-c", str(file), *LOGIN], {})
    assert (executor.threads, executor.actions_dir, executor.timeouts) == (3, [str(tmp_path), "/"], {"a": 0.1})
    assert as_ini(up, "server").splitlines() == [f"data-dir = {up.data_dir}", "port = 0"]
    assert "hunter2" not in as_ini(executor, "executor")


# --- the client's own file


def test_a_client_finds_the_file_that_up_wrote(tmp_path: Path) -> None:
    tmp_path = tmp_path / "[x]*"
    tmp_path.mkdir()
    (tmp_path / "client.ini").write_text("ss-url = http://127.0.0.1:9\nss-user = super\nss-pass = hunter2\n")
    for command in ("client", "executor"):
        settings = parse(command, ["--data-dir", str(tmp_path)], {})
        assert (settings.ss_url, settings.ss_user, settings.ss_pass) == ("http://127.0.0.1:9", "super", "hunter2")
    assert parse("client", [], {"GEVENTJOB_DATA_DIR": str(tmp_path)}).ss_pass == "hunter2"


@pytest.mark.parametrize("how", ["flag", "environment", "file"])
def test_another_server_does_not_get_its_password(how: Any, tmp_path: Path, ini: Any) -> None:
    (tmp_path / "client.ini").write_text("ss-url = http://127.0.0.1:9\nss-user = super\nss-pass = hunter2\n")
    argv = {"flag": ["--ss-url=http://other"], "environment": [], "file": ["-c", ini("ss-url = http://other")]}[how]
    environ = {"GEVENTJOB_SS_URL": "http://other"} if how == "environment" else {}
    settings = parse("client", [*argv, "--data-dir", str(tmp_path)], environ)
    assert (settings.ss_url, settings.ss_user, settings.ss_pass) == ("http://other", None, None)


def test_a_client_leaves_the_rest_to_its_caller() -> None:
    argv = ["submit", "--ss-url", "http://h", "an_action", "--help", "--ss-user=me", "--json"]
    settings, rest = parse_known("client", argv, {})
    assert (settings.ss_url, settings.ss_user) == ("http://h", "me")
    assert rest == ["submit", "an_action", "--help", "--json"]


# --- passwords


def test_the_password_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "pass"
    file.write_text("hunter2 ü\r\nanother line\n")
    file.chmod(0o600)
    assert parse("client", ["--ss-pass-file", str(file)], {}).ss_pass == "hunter2 ü"
    assert parse("server", ["--admin-pass-file", str(file)], {}).admin_pass == "hunter2 ü"
    assert parse("server", [], {}).admin_pass is None


def test_of_password_and_file_the_one_that_stands_first_counts(ini: Any, tmp_path: Path, refused: Any) -> None:
    file = tmp_path / "pass"
    file.write_text("from-file\n")
    file.chmod(0o600)
    with_pass, with_file = ini("ss-pass = from-ini"), f"--ss-pass-file={file}"
    assert parse("client", ["-c", with_pass, with_file], {}).ss_pass == "from-file"
    assert parse("client", [with_file], {"GEVENTJOB_SS_PASS": "env"}).ss_pass == "from-file"
    assert parse("client", ["--ss-pass=flag"], {"GEVENTJOB_SS_PASS_FILE": str(file)}).ss_pass == "flag"
    assert "both given in the command line" in refused("--ss-pass=x", with_file, command="client")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_password_file_without_a_password(content: Any, tmp_path: Path, refused: Any) -> None:
    file = tmp_path / "pass"
    file.write_bytes(content)
    assert refused(f"--ss-pass-file={file}", command="client").startswith("--ss-pass-file: ")


def test_files_that_everybody_can_read_are_warned_about(
    ini: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parse("client", ["-c", ini("ss-pass = x", mode=0o604)], {})
    assert "warning: everybody can read ss-pass in" in capsys.readouterr().err
    parse("client", ["-c", ini("ss-pass = x", mode=0o640)], {})
    parse("client", ["-c", ini("ss-user = x", mode=0o644)], {})
    assert capsys.readouterr().err == ""
    file = tmp_path / "pass"
    file.write_text("x")
    file.chmod(0o644)
    parse("server", [f"--admin-pass-file={file}"], {})
    assert "warning: everybody can read a password in" in capsys.readouterr().err


def test_a_key_and_its_secret(ini: Any, secret_file: Any, capsys: pytest.CaptureFixture[str]) -> None:
    key = ["--ss-key=credential/1", f"--ss-secret-file={secret_file}"]
    for command, words in (("client", []), ("executor", []), ("distributor", ["jobs_cleanup"])):
        settings = parse(command, [*key, *words], {})
        assert (settings.ss_key, settings.ss_secret) == ("credential/1", "aaaaaa.bbbbbb")
        assert (settings.ss_user, settings.ss_pass) == (None, None)
        assert "bbbbbb" not in f"{settings} {settings!r}"
    environ = {"GEVENTJOB_SS_KEY": "1", "GEVENTJOB_SS_SECRET_FILE": secret_file}
    assert parse("client", [], environ).ss_secret == "aaaaaa.bbbbbb"
    assert parse("client", ["-c", ini(f"ss-key = 1\nss-secret-file = {secret_file}")], {}).ss_secret == "aaaaaa.bbbbbb"
    assert capsys.readouterr().err == ""


def test_of_user_and_key_the_one_that_stands_first_counts(ini: Any, secret_file: Any, refused: Any) -> None:
    key = ["--ss-key=1", f"--ss-secret-file={secret_file}"]
    environ = {"GEVENTJOB_SS_KEY": "1", "GEVENTJOB_SS_SECRET_FILE": secret_file}
    user = "ss-user = super\nss-pass = hunter2\n"
    for argv, variables in (
        (["-c", ini(user), *key], {}),
        (["-c", ini(user)], environ),
        (key, {"GEVENTJOB_SS_USER": "u"}),
    ):
        settings = parse("client", argv, variables)
        assert (settings.ss_user, settings.ss_pass, settings.ss_key) == (None, None, "1")
    settings = parse("client", LOGIN, environ)
    assert (settings.ss_user, settings.ss_pass, settings.ss_key, settings.ss_secret) == ("super", "hunter2", None, None)
    assert "--ss-user and --ss-key are both given in the command line" in refused(*LOGIN, *key, command="client")


def test_a_key_goes_with_its_secret(ini: Any, secret_file: Any, refused: Any) -> None:
    assert refused("--ss-key=1", command="client") == "--ss-key: --ss-secret-file is needed with it"
    assert refused(f"--ss-secret-file={secret_file}", command="client").startswith(
        "--ss-secret-file: --ss-key is needed"
    )
    assert refused("--ss-key=1", "--ss-secret-file=/nowhere", command="client").startswith("--ss-secret-file: ")


def test_executors_and_distributors_need_a_log_in(refused: Any) -> None:
    assert "or --ss-key and --ss-secret-file" in refused(command="executor")
    assert "--ss-user and --ss-pass-file" in refused("--ss-user=x", command="executor")
    assert "--ss-user and --ss-pass-file" in refused("--ss-pass=x", "jobs_cleanup", command="distributor")


@pytest.fixture
def secret_file(tmp_path: Path) -> Any:
    file = tmp_path / "secret"
    file.write_text("aaaaaa.bbbbbb\n")
    file.chmod(0o600)
    return str(file)


def test_settings_show_no_secret() -> None:
    settings = parse("executor", [*LOGIN, "--es-hosts-list=https://u:hunter3@es"], {})
    assert settings.ss_pass == "hunter2"
    assert settings.es_hosts_list == ["https://u:hunter3@es"]
    assert "hunter" not in f"{settings} {settings!r}"


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_show_no_secret_of_a_file(command: str, tmp_path: Path) -> None:
    """Covers every option that names a file of one line."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    for name in ("ss-pass-file", "ss-secret-file", "admin-pass-file", "es-pass-file", "es-api-key-file"):
        if any(option.name == name for option in options(command)):
            beside = {"ss-secret-file": "--ss-key=k", "es-pass-file": "--es-user=u", "ss-pass-file": "--ss-user=u"}
            log_in = LOGIN if command in NAMED and name.startswith("es-") else []
            names = ["jobs_cleanup"] if command == "distributor" else []
            words = [f"--{name}={secret}", *([beside[name]] if name in beside else []), *log_in, *names]
            settings = parse(command, words, {})
            assert "hunter2" in vars(settings).values()
            assert "hunter" not in f"{settings} {settings!r}"


@pytest.mark.parametrize(
    "argv",
    [
        ["--ss-pas=hunter2"],
        ["--ss-pass", "correct", "hunter2"],
        ["--ss-pass=a\x01hunter2"],
        ["--ss-url=http://super:hunter2@host"],
        ["--es-hosts-list=ftp://super:hunter2@host"],
        ["--threads=0", "--ss-pass=hunter2"],
        ["-c", "{ini}"],
    ],
)
@pytest.mark.parametrize(
    "line",
    [
        "ss-pas = hunter2",
        "hunter2",
        "ss-pass: hunter2",
        "[x\nss-pass=hunter2",
        "ss-pass = a\nss-pass = hunter2",
        "  hunter2",
        "ss-pass=x\n  hunter2",
    ],
)
def test_no_error_shows_a_secret(argv: Any, line: Any, ini: Any, refused: Any) -> None:
    said = refused(*[word.format(ini=ini(line)) for word in argv], command="executor")
    assert "hunter" not in said


def test_the_password_leaves_the_list_of_processes() -> None:
    code = """if True:
        import sys
        from geventjob.config import hide_secrets
        hide_secrets("geventjob-executor")
        print(open("/proc/self/cmdline", "rb").read())
        print(sys.argv[1:])
    """
    argv = ["--ss-pass=hunter2", "--ss-pass", "hunter2", "--es-hosts-list", "https://u:hunter3@es", "--threads=3"]
    ran = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    shown, own = ran.stdout.splitlines()
    assert "geventjob-executor --ss-pass=*** --ss-pass *** --es-hosts-list https://***@es --threads=3" in shown
    assert "hunter" not in shown
    assert own == repr(argv)


@pytest.mark.parametrize("command", ["executor", "distributor", "server", "main"])
def test_the_password_is_masked_before_anything_heavy_is_loaded(command: str) -> None:
    """Reads the title at the import of the first heavy library."""
    code = f"""if True:
        import sys
        class Heavy:
            def find_spec(self, name, *_):
                if name in ("gevent", "configargparse", "argparse", "requests"):
                    print(open("/proc/self/cmdline", "rb").read())
                    sys.exit(0)
        sys.meta_path.insert(0, Heavy())
        sys.modules.pop("argparse", None)
        import geventjob.cli.{command}
    """
    ran = subprocess.run([sys.executable, "-c", code, "--ss-pass=hunter2"], capture_output=True, text=True, check=True)
    assert "--ss-pass=***" in ran.stdout
    assert "hunter" not in ran.stdout


@given(st.lists(st.text(min_size=1)))
def test_masking_leaves_the_rest_alone(words: Any) -> None:
    words = [word for word in words if not word.startswith("--ss-pass") and "://" not in word]
    assert mask_arguments(words) == words


# --- what is wrong


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--port=x"], "--port: expected a port from 0 to 65535, not 'x'"),
        (["--port=70000"], "--port: expected a port from 0 to 65535, not '70000'"),
        (["--session-timeout=0"], "--session-timeout: expected seconds, a number above 0, not '0'"),
        (["--session-timeout=inf"], "--session-timeout: expected seconds, a number above 0, not 'inf'"),
        (["--session-timeout=nan"], "--session-timeout: expected seconds, a number above 0, not 'nan'"),
        (["--session-timeout"], "--session-timeout: expected one argument"),
        (["--host=a b"], "--host: expected a host name or an IP address, not 'a b'"),
        (["--name=a/b"], "--name: expected up to 100 of letters, digits, blanks and _.@:+-, not 'a/b'"),
        (["--name=.."], "--name: expected up to 100 of letters, digits, blanks and _.@:+-, not '..'"),
        (["--zk-root=a"], "--zk-root: expected an absolute path as /geventjob, not 'a'"),
        (["--zk-root=/a//b"], "--zk-root: expected an absolute path as /geventjob, not '/a//b'"),
        (["--zk-hosts=a:0"], "--zk-hosts: expected HOST:PORT with a port from 1 to 65535, not 'a:0'"),
        (["--zk-hosts=a:1/root"], "--zk-hosts: expected HOST:PORT; a folder in ZooKeeper is --zk-root, not 'a:1/root'"),
        (["--zk-hosts="], "--zk-hosts: expected at least one, separated by commas"),
        (["--es-hosts-list=ftp://x"], "--es-hosts-list: expected HOST:PORT or a URL as https://HOST:PORT"),
        (["--es-index-prefix=Jobs"],
         "--es-index-prefix: expected up to 100 lower-case letters, digits, - and _, not 'Jobs'"),
        (["--es-user=u"], "--es-user: --es-pass-file is needed with it"),
        (["--log-level=loud"], "--log-level: expected debug, info, warning, error or critical, not 'loud'"),
        (["--admin-pass-file=/"], "--admin-pass-file: expected a file that can be read: /: Is a directory"),
        (["--zzz=3"], "unknown option --zzz"),
        (["--por=3"], "unknown option --por: did you mean --port?"),
        (["--host=\udce9"], "word 1 of the command line is not UTF-8 text"),
        (["-x"], "unknown option -x"),
        (["word"], "one word too many; quote a value that has spaces"),
        (["-c", "/no/such.ini"], "cannot read /no/such.ini: No such file or directory"),
        (["-c", "/etc"], "cannot read /etc: Is a directory"),
        (["-c"], "-c/--config: expected one argument"),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_one_line(argv: Any, said: str, refused: Any) -> None:
    assert refused(*argv) == said


def test_there_is_one_log_in_to_elasticsearch(refused: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    secret.chmod(0o600)
    password, key, user = f"--es-pass-file={secret}", f"--es-api-key-file={secret}", "--es-user=u"
    assert refused(password) == "--es-pass-file: --es-user is needed with it"
    assert refused(user, password, key) == "--es-user and --es-api-key-file are both given: one is enough"
    assert parse("server", [user, password], {}).es_pass == "hunter2"
    assert parse("server", [key], {}).es_api_key == "hunter2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 3", "{ini}: unknown option 'prot'"),
        ("threads = 3", "{ini}: unknown option 'threads'"),
        ("port = x", "--port: expected a port from 0 to 65535, not 'x' (in {ini})"),
        ("port", "{ini}: port: expected port = value"),
        ("port 3", "{ini}: a line is not `option = value`"),
        ("[a]\nport = 3\n[b]\nport = 3", "{ini}: option 'port' is given twice"),
        ("#\nport = 3\nport = 3", "{ini}: line 3: this option is given twice"),
        ("\n= 3", "{ini}: line 2 is not `option = value`"),
        ("[timeouts]\na = 3", "{ini}: only executors have a section [timeouts]"),
        ("[rights]\nalice =", "{ini}: [rights] alice: expected actions, as report_*, mirror"),
        ("port = 3\0", "--port: expected a port from 0 to 65535, not '3\\x00' (in {ini})"),
        ("#" * (1 << 20) + "\n", "{ini}: larger than 1 MB"),
    ],
)
def test_a_wrong_file_is_one_line(text: str, said: str, ini: Any, refused: Any) -> None:
    file = ini(text)
    assert refused("-c", file) == said.format(ini=file)


def test_a_file_that_is_no_text(tmp_path: Path, refused: Any) -> None:
    file = tmp_path / "x.ini"
    file.write_bytes(b"port = \xff\n")
    assert refused("-c", str(file)) == f"{file}: not UTF-8 text"


def test_a_wrong_timeout_names_its_action(ini: Any, refused: Any) -> None:
    file = ini("[timeouts]\nslow = never")
    said = refused("-c", file, command="executor")
    assert said == f"{file}: [timeouts] slow: expected seconds, a number above 0, not 'never'"


def test_a_wrong_switch(ini: Any, refused: Any) -> None:
    file = ini("demo = maybe")
    assert refused("-c", file, command="up") == f"{file}: demo: expected true or false"
    assert "GEVENTJOB_DEMO" in refused(command="up", environ={"GEVENTJOB_DEMO": "maybe"})


def test_a_wrong_variable_is_named(refused: Any) -> None:
    said = refused(environ={"GEVENTJOB_PORT": "x"})
    assert said == "--port: expected a port from 0 to 65535, not 'x' (in GEVENTJOB_PORT)"


def test_a_folder_that_is_missing(refused: Any, tmp_path: Path) -> None:
    said = refused(*LOGIN, f"--actions-dir={tmp_path}/no", command="executor")
    assert said == f"--actions-dir: expected a folder that exists, not '{tmp_path}/no'"


def test_a_distributor_needs_a_name_or_all(refused: Any) -> None:
    assert refused(*LOGIN, command="distributor") == "name the distributors to run, or give --all"
    assert refused(*LOGIN, "--all", "a", command="distributor") == "name the distributors to run, or give --all"
    assert parse("distributor", [*LOGIN, "--all"], {}).names == []


@given(st.text())
def test_any_text_is_a_value_or_wrong_usage(value: Any) -> None:
    """Each kind fails only with the text of its expectation."""
    for option in OPTIONS:
        if not option.switch:
            try:
                option.kind(value)
            except argparse.ArgumentTypeError as error:
                said = str(error)
                assert said.startswith("expected ")


@given(st.text(alphabet="ab:/@.[]-%0159 \\", max_size=20))
def test_a_url_that_is_taken_has_a_host_and_no_log_in(value: Any) -> None:
    for text in (value, f"http://{value}"):
        try:
            taken = kinds.url(text)
        except argparse.ArgumentTypeError:
            continue
        assert re.fullmatch(r"http://[a0159b.:\[\]-]+(/[^@ ]*)?", taken)


# --- help, files and page


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_defaults_and_variables(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as ended:
        parse(command, ["--help"], {"GEVENTJOB_SS_PASS": "hunter2"})
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert "hunter2" not in said
    for option in options(command):
        assert f"(default {option.default_text}; ${option.variable})" in said


@pytest.mark.parametrize("command", reference.SHIPPED)
def test_the_shipped_files_are_as_the_table_says(command: str) -> None:
    assert (TOP / "conf" / f"{command}.ini").read_text() == reference.ini(command), "run `make reference`"


@pytest.mark.parametrize("command", reference.SHIPPED)
def test_the_shipped_files_hold_every_default(
    command: str, ini: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    shipped = (TOP / "conf" / f"{command}.ini").read_text()
    settings = parse(command, ["-c", ini(shipped), "--name=n", *NAMED.get(command, [])], {})
    assert settings.log_dir == "/var/log/slipstream/log"
    bare = re.sub(r"^#(?=\S+ =|\[)", "", shipped, flags=re.MULTILINE)
    bare = re.sub(r"^(actions|distributors)-dir = .*$", rf"\1-dir = {tmp_path}", bare, flags=re.MULTILINE)
    names = re.findall(r"^(\S+) =", bare.partition("\n[")[0], flags=re.MULTILINE)
    assert names == [option.name for option in options(command)]
    full = parse(command, ["-c", ini(bare), "--name=n", *NAMED.get(command, [])], {})
    for option in options(command):
        if option.name not in ("actions-dir", "distributors-dir", "log-dir"):
            assert getattr(full, option.dest) == getattr(settings, option.dest), option.name
    assert full.timeouts == ({"cleanup_jobs": 3600.0} if command == "executor" else {})
    assert full.rights == ({"alice": ["report_*", "mirror"]} if command == "server" else {})


def test_the_reference_page_is_as_the_table_says() -> None:
    assert (TOP / "docs/reference/options.md").read_text() == reference.page(), "run `make reference`"


def test_every_command_has_its_options_once() -> None:
    for command in COMMANDS:
        names = [option.name for option in options(command)]
        assert len(names) == len(set(names)) > 0
        assert OptionParser(command).format_help()
    assert {c for option in OPTIONS for c in option.commands.split()} == set(COMMANDS)
