"""``python -m tests.bench.default_model``: learn the model that ships (policy matching_model) and write it.

It stands in until a company has records enough of its own (policy matching, `training.least_records`), and gives its
numbers for what nobody told there. Learned, like any model, without labels, from synthetic people among whom families
live; so nothing of a real person is in it.
"""

from __future__ import annotations

import sys

import yaml

from pipelines import contracts
from pipelines.contracts import schemas_folder
from pipelines.identity import match_model, match_profiles
from tests.bench.identity_people import people

RECORDS, SEED, FAMILY = 50_000, 1_001, 0.25
_HEAD = """\
# The model that policy matching starts with: how often a level of agreement is seen among records of one person (m) and
# of two (u). Learned from {records:,} synthetic records, a quarter of them with family; written by
# python -m tests.bench.default_model, never by hand.
"""


def main() -> int:
    """Learn and write; the version of what was learned."""
    policy = contracts.policy("matching")
    profiles, _ = people(RECORDS, SEED, family=FAMILY, contacts=True)
    frame = match_profiles.features(profiles, policy, contracts.policy("identity")["placeholders"])
    model = match_model.train(frame, policy)
    path = schemas_folder() / "policies" / "matching_model.yaml"
    text = yaml.safe_dump(model, sort_keys=False, default_flow_style=None, width=120)
    path.write_text(_HEAD.format(records=RECORDS) + text, encoding="utf-8")
    print(f"{path}: {model['version']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
