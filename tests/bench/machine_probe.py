"""How fast the machine is at the moment: the CPU time of a fixed piece of work, taken while something is measured.

A machine that is shared gives the same work 1.5 times the CPU time from one minute to the next, and the kernel calls
none of that stolen. Two sides that run one after the other can only be compared if both say how fast the machine was.
"""

from __future__ import annotations

import json
import time

# About 110 kB: more than the first cache holds, less than the second, as a batch of messages.
_DOCUMENT = json.dumps([{"number": number, "text": str(number) * 3} for number in range(3000)])


def probe_ms() -> float:
    """CPU time, ms, of this thread for reading one fixed JSON document (about 1 ms on a core of 2.6 GHz)."""
    began = time.thread_time()
    json.loads(_DOCUMENT)
    return (time.thread_time() - began) * 1000
