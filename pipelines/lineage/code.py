"""Where the code of a job lies, by its name."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

# In this order: the service of a name is meant before the command of that name.
_PLACES = {"flink": "Flink job", "spark": "Spark job", "services": "service", "ops": "command"}


@cache
def place_of(job: str) -> tuple[str, str] | None:
    """Kind and file of a job named in the contracts; None where there is no such module.

    >>> place_of("clean_interactions"), place_of("tiering")
    (('Flink job', 'jobs/flink/clean_interactions.py'), ('service', 'jobs/services/tiering.py'))
    """
    for folder, kind in _PLACES.items():
        if find_spec(f"jobs.{folder}.{job}") is not None:
            return kind, f"jobs/{folder}/{job}.py"
    return None
