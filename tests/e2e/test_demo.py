"""The front door: the demo from nothing to its tables, as a person types it; then the README's "Then", line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.stack import lifecycle, ports, processes
from infra.stack.settings import PROJECT_ROOT, Settings

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(900)]
EVENTS, WIDTH, LIMIT_S = 2_000, 100, 600
EXAMPLES = PROJECT_ROOT / "schemas" / "examples"
SAMPLES = sum(1 for _ in EXAMPLES.glob("raw.*/*"))


@dataclass
class House:
    """A home and ports of this module's own, and a shell in the project's folder with its environment activated."""

    settings: Settings

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KEFULAKE_")}
        environment |= {
            "KEFULAKE_HOME": str(self.settings.home),
            "KEFULAKE_PORT_BASE": str(self.settings.ports.base),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": str(WIDTH),
        }
        return subprocess.run(
            ["bash", "-c", line], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = Settings.load(tmp_path_factory.mktemp("demo") / "home", ports.free_base(29_000))
    yield House(settings)
    lifecycle.down(settings, lambda part, doing: None)


@pytest.fixture(scope="module")
def shown(house: House) -> str:
    """What the demo printed."""
    done = house.run(f"kefulake demo --events {EVENTS} --rate 1000")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def section(shown: str, title: str) -> list[list[str]]:
    """The rows of the table under a title, cut where at least two blanks stand."""
    table = re.split(rf"^─+ {title}.* ─+$", shown, maxsplit=1, flags=re.M)[1].strip("\n").split("\n\n")[0]
    return [re.split(r" {2,}", line.strip()) for line in table.splitlines()[1:]]


def test_the_balance_is_closed_to_the_row(shown: str) -> None:
    rows = [line.split() for line in shown.splitlines() if re.match(r"(raw\.\w+|all) +\d", line)]
    topics = {row[0]: row[1:] for row in rows}
    assert len(rows) == len(topics) == 17  # 14 channels, CRM, orders and the sum
    total = [int(cell.replace(",", "")) for cell in topics.pop("all")]
    assert {row[-1] for row in topics.values()} == {"yes"}
    received, kept, rejected, in_review, duplicate, missing, twice, unknown = total
    of_systems = {name: int(topics[name][0].replace(",", "")) for name in ("raw.crm", "raw.orders")}
    assert of_systems["raw.crm"] >= 2_000  # a record a customer, and its later changes
    assert of_systems["raw.orders"] > 1_000
    samples = SAMPLES - sum(1 for name in of_systems for _ in (EXAMPLES / name).iterdir())
    assert received - sum(of_systems.values()) == EVENTS + samples
    assert received == kept + rejected + in_review + duplicate
    assert (missing, twice, unknown) == (0, 0, 0)
    assert min(kept, rejected, in_review, duplicate) > 0  # the dirt that was planted


def test_one_person_over_the_channels_is_explained(shown: str) -> None:
    why = shown.split("why that is one customer")[1].split("the hottest questions")[0]
    sources = re.search(r"over (\d+) sources: (.+)", why)
    assert int(sources[1]) >= 3  # channels by which the person came, and the CRM
    assert "crm" in sources[2]
    assert "vouched for" in why


def test_nothing_of_it_runs_afterwards_and_the_data_stays(shown: str, house: House) -> None:
    assert list(processes.of_home(house.settings.home)) == []
    assert all(ports.is_free(house.settings.ports.base + n) for n in range(ports.PORTS_OF_A_STACK))
    asked = house.run("kefulake query --format csv 'SELECT count(*) FROM bronze.raw_events'")
    received = re.search(r"^all +([\d,]+)", shown, flags=re.M)[1].replace(",", "")
    assert asked.stdout.split() == ["count_star()", received], asked.stderr


def test_one_customer_over_three_channels_and_the_hottest_questions_have_rows(shown: str) -> None:
    contacts = section(shown, r"one customer over \d+ channels")
    assert len({row[1] for row in contacts}) >= 3
    assert any(len(row) >= 5 and row[4] for row in contacts)  # something was said
    questions = section(shown, "the hottest questions")
    assert [row[0] for row in questions] == [str(rank + 1) for rank in range(len(questions))]
    assert all(row[1] and int(row[2]) > 0 for row in questions)


def test_no_line_is_broken_by_its_width(shown: str) -> None:
    assert max(len(line) for line in shown.splitlines()) <= WIDTH


@pytest.fixture(scope="module")
def up_again(shown: str, house: House) -> House:
    """The stack with the demo's data, as the README's next step brings it back."""
    done = house.run("make up")
    assert done.returncode == 0, done.stdout + done.stderr
    return house


def readme_lines(heading: str) -> list[str]:
    """The commands of the first code block under a heading of the README, without their comments."""
    text = (PROJECT_ROOT / "README.md").read_text("utf-8").split(f"## {heading}\n", 1)[1]
    block = re.search(r"```bash\n(.*?)```", text, flags=re.S)
    assert block
    return [line.split("  #")[0].split(" # ")[0].strip() for line in block[1].splitlines()]


THEN = readme_lines("Then")


def test_the_readme_says_what_is_run_here() -> None:
    assert THEN[0] == "make up"
    assert THEN[-1] == "make down"
    assert len(THEN) == 12


@pytest.mark.soak
@pytest.mark.parametrize("line", THEN[1:-1])
def test_what_the_readme_says_to_try_works(up_again: House, tmp_path: Path, line: str) -> None:
    file = tmp_path / "chat.ndjson"
    file.write_text('{"message_id":"then-1","sender":"visitor","sent_at":"2026-01-09 08:00:00","text":"你好"}\n')
    done = up_again.run(line.replace("FILE", str(file)).replace("--seconds 60", "--seconds 2"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout or line.startswith("source")


@pytest.mark.soak
@pytest.mark.parametrize("language", ["python", "bash"])
def test_the_examples_of_sending_a_message_are_taken(up_again: House, language: str) -> None:
    text = (PROJECT_ROOT / "docs" / "collecting.md").read_text("utf-8")
    code = re.search(rf"```{language}\n(.*?)```", text, flags=re.S)[1]
    code = code.replace(".kefulake/keys", str(up_again.settings.keys_file.parent))
    code = code.replace("127.0.0.1:19211", f"127.0.0.1:{up_again.settings.ports.base + 11}")
    done = up_again.run(code if language == "bash" else f"python - <<'CODE'\n{code}\nCODE")
    assert done.returncode == 0, done.stderr
    assert re.search(r"accepted.: ?1\b", done.stdout), done.stdout


@pytest.mark.soak
def test_history_shows_the_customer_of_the_demo(up_again: House, shown: str) -> None:
    customer = up_again.run("kefulake query --format csv @docs/queries/customer_over_channels.sql").stdout
    [who] = {line.split(",")[0] for line in customer.splitlines()[1:] if line.startswith(("c_", "p_"))}
    done = up_again.run(f"kefulake history --customer {who}")
    assert done.returncode == 0, done.stderr
    assert f"{who} (linked)" in done.stdout


@pytest.mark.soak
def test_down_stops_everything_and_keeps_the_data(up_again: House) -> None:
    done = up_again.run(THEN[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(processes.of_home(up_again.settings.home)) == []
    assert up_again.run("kefulake query 'SELECT count(*) FROM bronze.raw_events'").returncode == 0
