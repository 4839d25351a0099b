"""Jars and unpacked servers below build/jars, one sub-folder a part, fetched by Maven from infra/jars/pom.xml."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.stack.settings import PROJECT_ROOT, Settings

POM = PROJECT_ROOT / "infra" / "jars" / "pom.xml"
DEFAULT_PARTS = ("kafka", "flink", "spark", "mariadb")
STAMP = ".complete"


class JarsMissing(RuntimeError):
    """A part's jars were not fetched yet; the message says which command fetches them."""


def _pom_hash() -> str:
    return hashlib.sha256(POM.read_bytes()).hexdigest()


def is_complete(settings: Settings, part: str) -> bool:
    """True when the part was fetched as a whole with today's pom."""
    stamp = settings.jars / part / STAMP
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _pom_hash()


def fetch(settings: Settings, part: str) -> bool:
    """Fetches one part unless it is complete; True when something was fetched.

    The part's folder appears in one rename with its stamp inside, so an interrupted run leaves no half part.
    Raises JarsMissing when Maven is not there or fails, with the end of its output.
    """
    if is_complete(settings, part):
        return False
    maven = shutil.which("mvn")
    if maven is None:
        raise JarsMissing(
            "Maven (mvn) was not found. Install it (Debian, Ubuntu: apt-get install maven), then: make setup"
        )
    settings.jars.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.jars, prefix=f".{part}-") as scratch:
        target = Path(scratch) / part
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(POM), "-P", part, f"-Djars.root={scratch}", "dependency:copy-dependencies"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not target.is_dir():
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise JarsMissing(f"Maven could not fetch the jars of {part} (exit {done.returncode}):\n{tail}")
        (target / STAMP).write_text(_pom_hash(), encoding="utf-8")
        old = settings.jars / part
        if old.exists():
            shutil.rmtree(old)
        target.rename(old)
    return True


def folder(settings: Settings, part: str) -> Path:
    """Folder of a fetched part. Raises JarsMissing when it is not there."""
    path = settings.jars / part
    if not (path / STAMP).exists():
        raise JarsMissing(f"The jars of {part} are not in {path}. Run: make setup")
    return path


def class_path(settings: Settings, part: str) -> str:
    """Class path of a part: its jars by name, so that two runs load classes in the same order."""
    return os.pathsep.join(str(jar) for jar in sorted(folder(settings, part).glob("*.jar")))


def main(arguments: list[str]) -> int:
    """`--check`: 0 when everything is there. Without: fetches and unpacks what is missing, with a line each."""
    from infra.stack import mariadb

    settings = Settings.load()
    if "--check" in arguments:
        return int(not all(is_complete(settings, part) for part in DEFAULT_PARTS))
    for part in DEFAULT_PARTS:
        print(f"  {part}: ", end="", flush=True)
        print("fetched" if fetch(settings, part) else "there", flush=True)
    try:
        mariadb.unpack(settings)
    except mariadb.CannotRun as reason:
        print(f"  {reason}", flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except JarsMissing as missing:
        sys.exit(str(missing))
