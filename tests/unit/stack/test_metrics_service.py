"""What a scrape prints."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from infra.stack.settings import Settings
from jobs.services import metrics


def scrape(found: metrics.Found) -> str:
    registry = CollectorRegistry()
    registry.register(found)
    return generate_latest(registry).decode()


def test_samples_become_prometheus_text() -> None:
    found = metrics.Found({"parts": [("kefulake_part_up", ("kafka",), 1.0)], "tables": []})
    assert 'kefulake_part_up{part="kafka"} 1.0' in scrape(found)


def test_a_source_that_fails_keeps_no_old_figures(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings):
        raise ConnectionError("the broker is gone")
        yield

    found = metrics.Found({"lag": [("kefulake_lag_messages", ("tiering", "silver.interactions"), 0.0)]})
    monkeypatch.setattr(metrics, "SOURCES", {"lag": (10.0, broken)})
    metrics.look(Settings.load(tmp_path, 20000), found, {}, now=0.0)
    assert "silver.interactions" not in scrape(found)  # a lag of 0 would be a lie


def test_each_source_has_its_own_pace(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def source(name: str):
        def ask(settings: Settings):
            asked.append(name)
            return iter(())

        return ask

    monkeypatch.setattr(metrics, "SOURCES", {"often": (10.0, source("often")), "seldom": (30.0, source("seldom"))})
    due: dict[str, float] = {}
    for now in (0.0, 9.0, 10.0, 29.0, 30.0):
        metrics.look(Settings.load(tmp_path, 20000), metrics.Found(), due, now)
    assert asked == ["often", "seldom", "often", "often", "seldom"]  # 0 both; 10; 29 (due at 20); 30 seldom
