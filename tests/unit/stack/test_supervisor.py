"""The rendered configuration, read back by supervisord's own parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from infra.stack import lifecycle, programs, supervisor
from infra.stack.files import private_folder
from infra.stack.programs import Program
from infra.stack.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.load(tmp_path / "a home", 20000)  # a space in the path is nothing special
    private_folder(made.run)
    made.logs.mkdir(parents=True)
    return made


def parsed(settings: Settings, program: Program):
    conf = settings.run / "supervisor.conf"
    conf.write_text(supervisor.render(settings, [program]))
    options = ServerOptions()
    options.realize(["-c", str(conf)])
    return options.process_group_configs[0].process_configs[0]


def test_what_may_wait_runs_with_less_of_a_core(settings: Settings) -> None:
    import shlex

    patient = Program("part", 1, 1, lambda s: ["run", "it"], niceness=5)
    assert shlex.split(parsed(settings, patient).command)[-6:] == ["--", "nice", "-n", "5", "run", "it"]
    eager = Program("part", 1, 1, lambda s: ["run", "it"])
    assert shlex.split(parsed(settings, eager).command)[-3:] == ["--", "run", "it"]


def test_awkward_words_reach_the_part_unchanged(settings: Settings) -> None:
    awkward = {"URL": "mysql://u:p%40ss@h/d", "QUOTED": 'say "hi", then 100%', "LIST": "a=1,b=2;c"}
    program = Program("part", 1, 1, lambda s: ["run", "a b", "100%", '{"x": "y"}'], environment=lambda s: awkward)
    config = parsed(settings, program)
    assert {name: config.environment[name] for name in awkward} == awkward
    import shlex

    assert shlex.split(config.command)[-4:] == ["run", "a b", "100%", '{"x": "y"}']


def test_a_part_is_restarted_for_ever_and_stopped_with_all_its_children(settings: Settings) -> None:
    config = parsed(settings, Program("part", 1, 1, lambda s: ["run"], stop_limit_s=7))
    assert config.autorestart is not False
    assert config.startretries >= 1_000_000
    assert (config.stopasgroup, config.killasgroup, config.stopwaitsecs) == (True, True, 7)
    assert not config.autostart  # `up` starts stage by stage


def test_unknown_part_is_named_with_the_known_ones(settings: Settings) -> None:
    with pytest.raises(programs.UnknownPart, match="'kafak' is no part of the stack; there are: kafka"):
        programs.select(settings, only=["kafak"])


def test_trino_starts_only_when_asked_for(settings: Settings) -> None:
    assert "trino" not in {program.name for program in programs.select(settings)}
    assert "trino" in {program.name for program in programs.select(settings, extra=["trino"])}


def test_a_server_of_your_own_replaces_the_bundled_one(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEFULAKE_DATABASE_URL", "mysql+pymysql://u:p@db.example/kefulake")
    assert "mariadb" not in {program.name for program in programs.select(settings)}


def test_names_and_ports_are_unique(settings: Settings) -> None:
    names = [program.name for program in programs.PROGRAMS]
    ports = [port for program in programs.PROGRAMS for port in program.ports(settings).values()]
    assert len(set(names)) == len(names)
    assert len(set(ports)) == len(ports)
    assert all(20000 <= port < 20020 for port in ports)


def test_what_is_not_started_is_in_trouble(settings: Settings) -> None:
    assert lifecycle.trouble(settings, programs.PROGRAMS[0], {}) == "not started"
