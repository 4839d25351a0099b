"""Days of files from several stores with planted faults, and the truth about each file and each row.

A day's files are delivered the next morning (step 0 brings day 0). What repairs a fault comes one step later.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from pipelines.simulation import store_visits
from pipelines.simulation.store_file_forms import Form, Visit, Written, write
from pipelines.simulation.store_visits import ROW_FAULTS, TEXT_ONLY, RowFault

FEEDBACK = frozenset({"评价", "投诉"})


@dataclass(frozen=True)
class Delivered:
    """A file that comes at a step, and what must become of it: a verdict of ``bronze.store_files``, or ``waits``.

    ``fault`` names what was planted ('' for none), ``sign`` the rule that must find it. ``numbers``: rows new,
    corrected, withdrawn, unchanged. ``gone_before``: it takes the place of a file that waited under its name.
    """

    step: int
    path: str
    content: bytes
    store: str
    day: date
    verdict: str
    fault: str = ""
    sign: str | None = None
    numbers: tuple[int, int, int, int] | None = None
    form: str = "csv"
    encoding: str | None = "utf_8"


@dataclass(frozen=True)
class Row:
    """What must become of one row. ``fate``: kept, rejected, duplicate. ``path`` and ``line`` say where it stands."""

    path: str
    line: int
    message_id: str
    revision: int
    fate: str
    fault: str = ""
    rule: str | None = None
    table: str = "silver.interactions"
    text: str | None = None
    occurred_at: str | None = None
    outcome: str | None = None


@dataclass
class World:
    """Everything that is delivered, and what is true of it."""

    files: list[Delivered] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """The truth as JSON, without bytes."""
        files = [{k: v for k, v in asdict(one).items() if k != "content"} for one in self.files]
        return {"files": files, "rows": [asdict(row) for row in self.rows]}


FORMS = (
    Form(), Form(encoding="utf-8-sig"), Form(encoding="gbk"), Form(kind="xlsx"),
    Form(encoding="gbk", header="titled", totals=True), Form(kind="xlsx", header="merged", mixed_dates=True),
    Form(mixed_dates=True, blank_rows=3), Form(encoding="gbk", delimiter="\t", mixed_dates=True),
    Form(header="merged", totals=True, blank_rows=2), Form(encoding="utf-8-sig", delimiter=";", repeated_header_at=5),
    Form(kind="xlsx", header="titled", totals=True, blank_rows=4), Form(encoding="utf-16", mixed_dates=True),
)  # fmt: skip
_READ_AS = {"utf-8": "utf_8", "utf-8-sig": "utf_8", "gbk": "gb18030", "utf-16": "utf_16"}


class Stores:
    """Makes the files of several stores over several days; the same seed makes the same bytes of text files."""

    def __init__(
        self, seed: int, stores: dict[str, dict[str, Any]], first_day: date, days: int, a_day: int = 22
    ) -> None:
        self.chance, self.stores, self.a_day = random.Random(seed), stores, a_day  # noqa: S311
        self.days = [first_day + timedelta(days=nth) for nth in range(days)]
        self.world = World()
        self._planted: Counter[str] = Counter()

    def form_of(self, store: str, nth: int) -> Form:
        """Each store keeps to a form for some weeks, then changes its till; a declared footer is written always."""
        form = FORMS[(int(store[1:]) * 2 + nth // 9) % len(FORMS)]
        return replace(form, footer=self.stores[store].get("footer") == "required")

    def written(self, store: str, day: date, rows: Sequence[Visit], form: Form) -> Written:
        """A file's bytes; a till that ends no last line leaves its line break away."""
        made = write(rows, form, f"{self.stores[store]['name']} 服务日报 营业日期：{day:%Y-%m-%d}", self.chance)
        if form.kind == "csv" and self.stores[store].get("final_newline") == "optional":
            ending = "\r\n".encode(form.encoding.replace("-sig", "").replace("utf-16", "utf-16-le"))
            return replace(made, content=made.content.removesuffix(ending))
        return made

    def name(self, store: str, day: date, form: Form, nth: int) -> str:
        """Names as stores give them; now and then the ending lies about the form."""
        ending = {"csv": "csv", "xlsx": "xlsx"}[form.kind]
        if nth % 11 == 4:
            ending = "xls" if form.kind == "csv" else "csv"
        names = (
            f"{store}_{day:%Y%m%d}.{ending}", f"{store}/{day:%Y-%m-%d}.{ending}",
            f"{self.stores[store]['name']}_{day.year}年{day.month}月{day.day}日_服务记录.{ending}",
        )  # fmt: skip
        return names[int(store[1:]) % len(names)]

    # ---- truth

    def deliver(
        self, step: int, path: str, made: Written, store: str, day: date, form: Form, verdict: str, **more
    ) -> None:
        """Note a file."""
        read_as = None if form.kind == "xlsx" else _READ_AS[form.encoding]
        told = {"form": form.kind, "encoding": read_as} | more
        self.world.files.append(Delivered(step, path, made.content, store, day, verdict, **told))

    def rows(
        self, path: str, made: Written, day: date, rows: Sequence[Visit], *, revision: int = 0,
        only: frozenset[str] | None = None, faults: dict[int, RowFault] | None = None,
    ) -> None:  # fmt: skip
        """Note what must become of rows of a file; ``only``: those of these numbers."""
        seen: dict[str, int] = {}
        for nth, (visit, line) in enumerate(zip(rows, made.lines, strict=True)):
            fault = (faults or {}).get(nth)
            fate = fault.fate if fault else "kept"
            seen[visit.number] = seen.get(visit.number, 0) + 1
            other = seen[visit.number] > 1 and fate != "duplicate"
            key = f"{visit.number}~{seen[visit.number]}" if other else visit.number
            if only is not None and visit.number not in only:
                continue
            feedback = visit.values["记录类型"] in FEEDBACK
            self.world.rows.append(
                Row(
                    path, line, f"{visit.store}/{day}/{key}", revision, fate, fault.name if fault else "",
                    fault.rule if fault else None, "silver.feedback" if feedback else "silver.interactions",
                    visit.values["咨询内容"], f"{visit.at:%Y-%m-%d %H:%M:%S}",
                )
            )  # fmt: skip

    def withdrawn(self, path: str, day: date, visit: Visit, revision: int) -> None:
        """Note that a record must have been taken back."""
        at = f"{visit.at:%Y-%m-%d %H:%M:%S}"
        where = f"{visit.store}/{day}/{visit.number}"
        self.world.rows.append(Row(path, 0, where, revision, "kept", "withdrawn", occurred_at=at, outcome="revoked"))

    def planted_rows(self, rows: list[Visit], form: Form, count: int) -> tuple[list[Visit], dict[int, RowFault]]:
        """Some rows with one fault each, of kinds that the form can carry."""
        plain = form.kind == "csv" and form.encoding.startswith("utf-8") and form.delimiter == ","
        kinds = [fault for fault in ROW_FAULTS if plain or fault.name not in TEXT_ONLY]
        places = sorted(self.chance.sample(range(1, len(rows)), count))
        made, faults = list(rows), {}
        for place in places:
            fault = min(kinds, key=lambda kind: self._planted[kind.name])  # so that a few days hold every kind
            self._planted[fault.name] += 1
            made[place] = fault.make(rows[place], self.chance)
            if fault.name == "row_twice":
                made[place] = made[place - 1] if place - 1 not in faults else made[place]
                fault = fault if place - 1 not in faults else None
            elif fault.name == "number_twice":
                made[place] = (
                    replace(made[place], number=made[place - 1].number) if place - 1 not in faults else made[place]
                )
            if fault is not None:
                faults[place] = fault
        return made, faults

    def visits(self, store: str, day: date, **more) -> list[Visit]:
        """A store's visits of a day."""
        return store_visits.visits(store, day, self.chance.randint(self.a_day - 8, self.a_day + 8), self.chance, **more)


def by_step(world: World) -> Iterator[tuple[int, list[Delivered]]]:
    """The files of each step, in order."""
    for step in sorted({one.step for one in world.files}):
        yield step, [one for one in world.files if one.step == step]
