"""Verdicts made comparable: from a hard case, from the simulation's truth, from what the cleaning said."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.simulation.truth import Truth as SimulatedTruth
from tests.bench.case_truth import Case
from tests.bench.pure_path import Outcome

# Found in an honest row too: they mark it, they don't make it dirty.
HONEST = frozenset(["personal_number", "response_time.extreme_confirmed"])
_OF_REVIEW_AND_DUPLICATE = {"duplicate": "duplicate", "review": "ambiguous"}


@dataclass(frozen=True)
class Facts:
    """A verdict: the route, the rules it calls on, and the corrected response time where the truth knows one."""

    route: str
    rules: frozenset[str]
    corrected_s: float | None = None

    def equals(self, said: Facts, *, times: bool) -> bool:
        """The same verdict; with `times` the corrected time too, within a second or 2 %: instants are whole seconds."""
        if (self.route, self.rules) != (said.route, said.rules):
            return False
        if not times or self.corrected_s is None or said.corrected_s is None:
            return not times or self.corrected_s is said.corrected_s
        return abs(self.corrected_s - said.corrected_s) <= max(1.0, 0.02 * self.corrected_s)


def of_case(case: Case) -> Facts:
    """What a hard case's truth says."""
    truth = case.truth
    rules = {truth.rule} - {None} | _measured(truth.response_verdict, truth.score_verdict)
    if truth.hidden:
        rules.add("personal_number")
    return Facts(truth.route, frozenset(rules), truth.response_corrected_s)


def of_simulated(truth: SimulatedTruth, route: str) -> Facts:
    """What the simulation's truth says; `route` because a group of repeats fixes only how many of it are kept."""
    rules = _measured(truth.response_time_verdict, truth.score_verdict) if route in ("kept", "duplicate") else set()
    if route == "rejected":
        rules.add("blank" if truth.rule == "text.blank" else "invalid")
    elif route in _OF_REVIEW_AND_DUPLICATE:
        rules.add(_OF_REVIEW_AND_DUPLICATE[route])
    if truth.personal and route == "kept":
        rules.add("personal_number")
    return Facts(route, frozenset(rules))


def of_outcome(outcome: Outcome, *, hidden: Iterable[str] = (), shown: Iterable[str] = ()) -> Facts:
    """What the cleaning said. `hidden` digits count as found where none of the text fields shows them any more."""
    record, rules = outcome.record, set()
    if outcome.route == "rejected":
        rules.add("blank" if outcome.rule == "text.blank" else "invalid")
    elif outcome.route in _OF_REVIEW_AND_DUPLICATE:
        rules.add(_OF_REVIEW_AND_DUPLICATE[outcome.route])
    if outcome.route in ("kept", "duplicate"):
        rules |= _measured(record.get("response_time_verdict"), record.get("score_verdict"))
    if outcome.route == "kept":
        digits = _digits(record)
        if any(n not in digits for n in shown) or (hidden and not any(n in digits for n in hidden)):
            rules.add("personal_number")
    return Facts(outcome.route, frozenset(rules), record.get("response_time_corrected_s"))


def _measured(response_verdict: str | None, score_verdict: str | None) -> set[str]:
    rules = set() if response_verdict in (None, "normal") else {f"response_time.{response_verdict}"}
    return rules | ({"score"} if score_verdict == "out_of_scale" else set())


def _digits(record: dict) -> str:
    text = " ".join(str(record.get(name) or "") for name in ("text", "subject", "attributes"))
    return "".join(c for c in unicodedata.normalize("NFKC", text) if c.isalnum())


def measure(pairs: Iterable[tuple[str, Facts, Facts]], *, times: bool) -> dict:
    """Precision and recall of each rule, accuracy and clean rate over (what a row tries, truth, what was said)."""
    right = events = dirty = cleaned = honest = kept = 0
    hits: dict[str, Counter] = defaultdict(Counter)
    tried: Counter = Counter()
    for tries, truth, said in pairs:
        equal = truth.equals(said, times=times)
        is_dirty = bool(truth.rules - HONEST)
        events += 1
        tried[tries] += 1
        right += equal
        dirty += is_dirty
        cleaned += is_dirty and (said.route != "kept" or equal)
        honest += not is_dirty
        kept += not is_dirty and said.route == "kept"
        for rule in truth.rules | said.rules:
            what = "false" if rule not in truth.rules else "hit" if rule in said.rules else "missed"
            hits[rule.split(".")[0]][what] += 1
    return {
        "events": events,
        "accuracy": share(right, events),
        "clean_rate": share(cleaned, dirty),
        "honest_rows_kept": share(kept, honest),
        "dirty": dirty,
        "rules": {rule: _row(count, tried[rule]) for rule, count in sorted(hits.items())},
    }


def _row(count: Counter, tried: int) -> dict:
    true = count["hit"] + count["missed"]
    return {
        "cases": tried or true,
        "true": true,
        "precision": share(count["hit"], count["hit"] + count["false"]),
        "recall": share(count["hit"], true),
        "false_alarms": count["false"],
        "missed": count["missed"],
    }


def share(part: int, whole: int) -> float:
    """part / whole, 1 where there is nothing to get wrong."""
    return round(part / whole, 5) if whole else 1.0
