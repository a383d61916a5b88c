"""The Debian package on a machine with a real systemd: install, the lines of the manual, upgrade, removal."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventjob.config.options import OPTIONS
from tests.packages.conftest import Packages
from tests.packages.installed import (
    DATA,
    DISTRIBUTOR,
    EXECUTOR,
    FOLDER,
    SERVER,
    UNITS,
    Gate,
    Installed,
    copied,
    installed,
)
from tests.support.fleet import ended, until
from tests.support.machine import machine
from tests.support.ports import free_port
from tests.unit.test_environment import FILE, READ

SHOW = """
import json, os, sys
with open("/shown", "a") as file:
    print(json.dumps([sys.argv[1], os.environ[sys.argv[1]], sys.argv[2:]]), file=file)
"""


@pytest.fixture(scope="module")
def site(
    archive: Path, packages: Packages, zookeeper: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installed]:
    with machine(archive, tmp_path_factory.mktemp("machine") / "debian") as made:
        made.run("dpkg", "-i", copied(made, packages.deb[0]))
        with installed(made, zookeeper) as site:
            yield site


def test_the_lines_of_the_manual_bring_up_the_engine(site: Installed) -> None:
    machine = site.machine
    site.start()
    site.works()
    logs = {path.name for path in machine.path("/var/log/slipstream/log").iterdir()}
    assert logs == {"server.log", "executor.log", "distributor-jobs_cleanup.log"}
    shown = machine.run("geventjob", "check", "--defaults", "/etc/default/slipstream-job-executor")
    assert "--threads=8" in shown
    for place in (machine.run("systemctl", "status", EXECUTOR), shown, machine.run("journalctl", "--no-pager")):
        assert site.password not in place


def test_an_executor_that_ends_with_exit_code_0_is_started_again(site: Installed) -> None:
    """As above `max-rss`, and after an order to stop."""
    machine, client = site.machine, site.client()
    (name,) = [node["name"] for node in client.nodes() if node["role"] == "executor"]
    before = int(machine.property(EXECUTOR, "NRestarts"))
    client.order_executor(name, "stop", "of the test")
    until(lambda: int(machine.property(EXECUTOR, "NRestarts")) == before + 1, 60)
    until(lambda: site.active() == [*UNITS], 60)
    site.works()


def test_the_units_are_hardened_and_have_no_misspelt_line(site: Installed) -> None:
    units = [f"{EXECUTOR}.service", f"{SERVER}.service", "geventjob.service", DISTRIBUTOR]
    told = site.machine.run("systemd-analyze", "verify", *units, check=False)
    assert [line for line in told.splitlines() if "man " not in line] == []  # this Debian has no program `man`
    for unit in units:
        exposure = site.machine.run("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
        assert float(exposure.partition(f"{unit}: ")[2].split()[0]) <= 1.5


def test_an_action_with_a_process_has_a_control_group_with_its_memory(site: Installed) -> None:
    """Where the kernel controls memory by cgroup v2; where it has lent memory to cgroup v1, the process has a limit."""
    machine, client = site.machine, site.client()
    assert machine.property(EXECUTOR, "DelegateControllers").split() == ["memory", "pids"]
    before = site.processes()
    [stays, fills] = map(
        str, client.bulk_add([{"action": "bounded", "payload": {"fill": fill}} for fill in (False, True)])
    )
    jobs = ended(client, [stays, fills])
    assert (jobs[stays]["state"], jobs[fills]["state"]) == ("SUCCESS", "FAILED")
    unit = machine.property(EXECUTOR, "ControlGroup")
    controllers = machine.run("cat", f"/sys/fs/cgroup{unit}/cgroup.controllers", check=False)
    if "memory" in controllers.split():
        killed = r"ProcessDied: its process was killed: its memory was not enough; it used 12[78] MB of memory .*"
        assert re.fullmatch(killed, jobs[fills]["statusMessage"])
        assert re.fullmatch(rf"{unit}/worker-\d+-\d+", jobs[stays]["output"]["group"])
    else:
        assert jobs[fills]["statusMessage"] == "MemoryError"
    site.works()
    assert site.processes() == before, "the executor goes on"


def test_the_page_of_licences_names_all_that_is_inside(site: Installed) -> None:
    code = "from importlib.metadata import distributions as d; print(*{x.metadata['Name'] for x in d()})"
    names = site.machine.run("/opt/slipstream/job/bin/python", "-c", code).lower().split()
    page = site.machine.path("/usr/share/doc/slipstream-job/copyright").read_text()
    listed, _, texts = page.partition("=====")
    assert len(names) > 20
    assert [name for name in names if not re.search(rf"^{re.escape(name)} \S+: \w", listed, re.MULTILINE)] == []
    assert [name for name in names if f"\n{name}: " not in texts] == []


@pytest.mark.parametrize("command", ["executor", "distributor", "server", "up"])
def test_the_manual_page_of_a_command_names_each_option(site: Installed, command: str) -> None:
    page = site.machine.path(f"/usr/share/man/man1/geventjob-{command}.1")
    formatted = ["groff", "-k", "-man", "-ww", "-rLL=2000n", "-Tutf8", "-P-cbu", str(page)]
    read = subprocess.run(formatted, capture_output=True, text=True, check=True)
    assert read.stderr == ""
    missing = [option.name for option in OPTIONS if command in option.commands.split()]
    missing = [name for name in missing if not re.search(rf"^ +--{name}( |$)", read.stdout, re.MULTILINE)]
    assert missing == []


@pytest.mark.parametrize(
    ("words", "completed"),
    [("geventjob subm", "submit"), ("geventjob submit --pay", "--payload"), ("geventjob-executor --thr", "--threads")],
)
def test_the_shell_completes(site: Installed, words: str, completed: str) -> None:
    """With the installed file, as the package bash-completion calls its function."""
    command = words.split()[0]
    function = f"_shtab_{command.replace('-', '_')}"
    script = f". /usr/share/bash-completion/completions/{command}; complete -p {command}"
    script += f"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); {function}; echo ${{COMPREPLY[@]}}"
    declared, found = site.machine.run("bash", "-c", script).splitlines()
    assert declared.endswith(f"-F {function} {command}")
    assert found == completed


def test_a_dump_reaches_the_log_and_harms_no_program_of_an_action(site: Installed) -> None:
    client = site.client()
    job = client.add("job", {"action": "waits", "payload": {"seconds": 3}})
    until(lambda: client.get(job)["state"] == "RUNNING")
    site.machine.run("systemctl", "kill", "-s", "SIGUSR1", EXECUTOR)
    until(lambda: "SIGUSR1" in site.log("executor"))
    assert ended(client, [job])[job]["state"] == "SUCCESS"


def test_a_reload_loads_a_new_action_into_the_same_process(site: Installed) -> None:
    old = site.processes()
    new = site.machine.path(f"{FOLDER}/new.py")
    new.write_text('from geventjob import action\n\n@action("new")\ndef new(job):\n    """Do nothing."""\n')
    site.machine.run("systemctl", "reload", *UNITS)
    client = site.client()
    job = client.add("job", {"action": "new"})
    assert ended(client, [job])[job]["state"] == "SUCCESS"
    assert site.processes() == old


def test_programs_of_actions_inherit_nothing_that_concerns_the_unit_alone(site: Installed) -> None:
    client = site.client()
    job = client.add("job", {"action": "environ", "payload": {"file": f"{DATA}/environ"}})
    assert ended(client, [job])[job]["state"] == "SUCCESS"
    lines = site.machine.path(f"{DATA}/environ").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert "GEVENTJOB_DATA_DIR" in names
    assert names.isdisjoint({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "DAEMON_ARGS"})


def test_a_credential_of_systemd_is_the_password(site: Installed) -> None:
    """As a variable, and as an option in ExecStart=; in an environment file systemd replaces no %d."""
    machine = site.machine
    secret = machine.path("/etc/slipstream/ss-pass")
    secret.write_text(site.password)
    secret.chmod(0o600)
    credential = "LoadCredential=ss-pass:/etc/slipstream/ss-pass"
    command = "/usr/bin/geventjob-distributor %i --ss-pass-file=%d/ss-pass $DAEMON_ARGS"
    for name in ("executor", "distributor"):
        site.defaults(name)
    with (
        site.drop_in(EXECUTOR, f"{credential}\nEnvironment=GEVENTJOB_SS_PASS_FILE=%d/ss-pass"),
        site.drop_in(DISTRIBUTOR, f"{credential}\nExecStart=\nExecStart={command}"),
    ):
        machine.run("systemctl", "restart", EXECUTOR, DISTRIBUTOR)
        assert site.active() == [*UNITS]
    with site.drop_in(DISTRIBUTOR, credential):
        site.defaults("distributor", "--ss-pass-file=%d/ss-pass")
        machine.run("systemctl", "restart", DISTRIBUTOR, check=False)
        shown = [machine.property(DISTRIBUTOR, name) for name in ("ExecMainStatus", "ActiveState", "NRestarts")]
        assert shown == ["2", "failed", "0"]
        assert "%d/ss-pass: No such file" in machine.run("journalctl", "--no-pager", "-u", DISTRIBUTOR)
    site.defaults("distributor", f"--ss-pass={site.password}")
    machine.run("systemctl", "restart", DISTRIBUTOR)


def test_a_restart_of_all_loses_none_of_300_running_jobs(site: Installed) -> None:
    """The jobs, 20 of them for a program, wait until all three units have been told to stop."""
    machine, client = site.machine, site.client()
    gate = Gate(machine.path(f"{FOLDER}/gate"))
    site.defaults("executor", f"--ss-pass={site.password}", "--threads=300")
    machine.run("systemctl", "restart", EXECUTOR)
    payloads = [{"gate": f"{FOLDER}/gate", "program": number < 20} for number in range(300)]
    ids = list(map(str, client.bulk_add([{"action": "gated", "payload": payload} for payload in payloads])))
    until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"] == 300, 60)
    old = site.processes()
    machine.run("systemctl", "restart", "--no-block", *UNITS)
    until(lambda: machine.property(EXECUTOR, "ActiveState") == "deactivating")
    gate.open()
    until(lambda: site.active() == [*UNITS], 120)
    assert {job["state"] for job in ended(client, ids, 120).values()} == {"SUCCESS"}
    assert not old & site.processes()


def test_an_upgrade_restarts_the_units_and_loses_no_job(site: Installed, packages: Packages) -> None:
    machine, client = site.machine, site.client()
    ids = list(map(str, client.bulk_add([{"action": "waits"}] * 40)))
    until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"])
    old = site.processes()
    before = machine.path("/etc/default/slipstream-job-executor").read_text()
    machine.run("dpkg", "-i", copied(machine, packages.deb[1]))
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "slipstream-job") == "1.1"
    assert machine.path("/etc/default/slipstream-job-executor").read_text() == before
    assert {job["state"] for job in ended(client, ids, 120).values()} == {"SUCCESS"}
    assert site.active() == [*UNITS]
    assert not old & site.processes()


def test_the_watchdog_restarts_a_process_whose_hub_is_held(site: Installed) -> None:
    with site.drop_in(EXECUTOR, "WatchdogSec=2"):
        site.machine.run("systemctl", "restart", EXECUTOR)
        old = site.machine.property(EXECUTOR, "MainPID")
        client = site.client()
        job = client.add("job", {"action": "holds"})
        until(lambda: client.get(job)["state"] == "RUNNING")
        client.delete(job)  # otherwise the job holds the next process too, and its stop
        until(lambda: site.machine.property(EXECUTOR, "MainPID") not in (old, "0"), 60)
        assert "Watchdog timeout" in site.machine.run("journalctl", "--no-pager", "-u", EXECUTOR)


def test_the_journal_has_the_fields_of_a_job(site: Installed) -> None:
    """Without a folder for logs, neither in the ini file nor in the environment."""
    machine, client = site.machine, site.client()
    ini = machine.path("/etc/slipstream/executor.ini")
    before = ini.read_text()
    ini.write_text(re.sub(r"^log-dir", "#log-dir", before, flags=re.MULTILINE))
    with site.drop_in(EXECUTOR, "UnsetEnvironment=GEVENTJOB_LOG_DIR"):
        machine.run("systemctl", "restart", EXECUTOR)
        job = client.add("job", {"action": "waits", "payload": {"seconds": "wrong"}})
        assert ended(client, [job])[job]["state"] == "FAILED"
        read = ["journalctl", "--output=json", "--unit", EXECUTOR, f"JOB_ID={job}"]
        [line, *_] = until(lambda: machine.run(*read).splitlines())
    assert json.loads(line)["ACTION"] == "waits"
    ini.write_text(before)


def test_systemd_reads_an_environment_file_as_check_does(site: Installed) -> None:
    """The values, and the words that a value becomes in ExecStart=."""
    machine = site.machine
    machine.path("/etc/default/shown").write_text(FILE)
    machine.path("/show.py").write_text(SHOW)
    lines = "".join(f"ExecStart=/usr/bin/python3 /show.py {name} ${name}\n" for name in READ)
    unit = f"[Service]\nType=oneshot\nEnvironmentFile=/etc/default/shown\n{lines}"
    machine.path("/etc/systemd/system/shown.service").write_text(unit)
    machine.run("systemctl", "start", "shown")
    shown = [json.loads(line) for line in machine.path("/shown").read_text().splitlines()]
    assert {name: (value, words) for name, value, words in shown} == READ


def test_everything_on_one_machine_by_one_unit(site: Installed) -> None:
    machine = site.machine
    machine.run("systemctl", "stop", *UNITS)
    machine.path("/etc/default/geventjob").write_text(f"DAEMON_ARGS='--port={free_port()}'\n")
    machine.run("systemctl", "enable", "--now", "geventjob")
    client = f"{DATA}/client.ini"
    submitted = machine.run("geventjob", "-c", client, "submit", "dummy_test_action", "--count", "100", "--wait")
    assert submitted.splitlines()[-1] == "100 jobs: 100 SUCCESS"


def test_removal_keeps_data_and_purge_takes_it(site: Installed) -> None:
    site.machine.run("dpkg", "-r", "slipstream-job")
    assert site.machine.property("geventjob", "ActiveState") == "inactive"
    assert site.machine.path(f"{DATA}/admin-pass").exists()
    assert not site.machine.path("/opt/slipstream").exists()
    site.machine.run("dpkg", "--purge", "slipstream-job")
    for place in ("/var/lib/slipstream", "/var/log/slipstream", "/etc/default/slipstream-job-executor"):
        assert not site.machine.path(place).exists()
    assert "slipstream" not in site.machine.path("/etc/passwd").read_text()
