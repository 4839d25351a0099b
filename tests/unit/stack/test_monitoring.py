"""The alerts speak of metrics that exist, and scrape the ports that are served."""

from __future__ import annotations

import re

import yaml

from infra.stack.settings import DEFAULT_PORT_BASE, PROJECT_ROOT, Ports
from jobs.services.metrics import METRICS

MONITORING = PROJECT_ROOT / "infra" / "monitoring"


def test_alerts_use_metrics_and_labels_that_exist() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    for rule in rules:
        names = set(re.findall(r"kefulake_[a-z_]+", rule["expr"]))
        assert names <= set(METRICS), rule["alert"]
        known = {label for name in names for label in METRICS[name][1]}
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= known, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "look"}, rule["alert"]


def test_scraped_ports_are_those_of_the_default_base() -> None:
    scrape = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    ports = Ports(DEFAULT_PORT_BASE)
    assert {job["job_name"]: job["static_configs"][0]["targets"] for job in scrape} == {
        "kefulake": [f"127.0.0.1:{ports.metrics}"],
        "kefulake-gateway": [f"127.0.0.1:{ports.gateway}"],
        "kefulake-lookup": [f"127.0.0.1:{ports.lookup}"],
    }
