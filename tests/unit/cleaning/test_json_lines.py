"""JSON a row: equal to what a JSON library reads back, without the keys that are NULL."""

import json

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cleaning.json_lines import json_lines

ROW = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(),
        "quoted": st.none() | st.sampled_from(['{"a":"b"}', "\\", '"', "\u0000\u001f\n", "中文\u2028"]),
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "real": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "yes": st.none() | st.booleans(),
    }
)
TYPES = {"text": pl.String, "quoted": pl.String, "number": pl.Int64, "real": pl.Float64, "yes": pl.Boolean}


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=5))
def test_reads_back_as_it_was(rows):
    rows = [{k: v for k, v in row.items()} for row in rows]
    encoded = json_lines(pl.DataFrame(rows, schema=TYPES).get_columns())
    assert [json.loads(line) for line in encoded] == [{k: v for k, v in r.items() if v is not None} for r in rows]


def test_what_json_has_no_number_for_is_left_out():
    frame = pl.DataFrame({"a": [float("nan"), float("inf"), 1.5]})
    assert json_lines(frame.get_columns()) == ["{}", "{}", '{"a":1.5}']
