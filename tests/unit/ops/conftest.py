"""A home of its own, with a master key, for commands that read and write one."""

from __future__ import annotations

import pytest

from infra.stack import keys
from infra.stack.settings import Settings


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("KEFULAKE_HOME", str(tmp_path))
    monkeypatch.delenv("KEFULAKE_MASTER_KEY", raising=False)
    settings = Settings.load(tmp_path, 20_000)
    keys.ensure_master_key(settings)
    return settings
