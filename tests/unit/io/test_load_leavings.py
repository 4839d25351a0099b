"""A writer that was killed leaves no customer's row behind in a file; one at work keeps its own."""

from __future__ import annotations

import os
import time

from pipelines.io.bulk_rows import LEFT_BEHIND_S, drop_leavings


def test_old_files_of_rows_go_and_nothing_else(tmp_path):
    old, young, other = (tmp_path / name for name in ("load-a.tsv", "load-b.tsv", "status.json"))
    for path in (old, young, other):
        path.write_text("c_1\t2\n")
    long_ago = time.time() - LEFT_BEHIND_S - 1
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    drop_leavings(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["load-b.tsv", "status.json"]
