"""The character classes the rules share: what can be seen, and what says something."""

import polars as pl
import pytest

from pipelines.cleaning.text_normalisation import INVISIBLE_RUN, SAYS_SOMETHING, VISIBLE


@pytest.mark.parametrize(
    ("text", "seen", "says"),
    [
        ("?", True, False),  # a mark can be seen and says nothing
        ("。。。", True, False),
        ("~ …", True, False),
        ("1", True, True),
        ("嗯", True, True),
        ("👍", True, True),  # an emoji carries meaning
        ("[微笑]", True, True),  # so does the word for one
        ("\u200b\u3000", False, False),  # zero-width and ideographic space
        ("\u3164", False, False),  # Hangul filler: a letter to Unicode, nothing to a reader
    ],
)
def test_what_is_seen_and_what_says_something(text, seen, says):
    found = pl.Series([text])
    assert (found.str.contains(VISIBLE)[0], found.str.contains(SAYS_SOMETHING)[0]) == (seen, says)


def test_what_cannot_be_seen_comes_out():
    assert pl.Series(["发\u200b货 了"]).str.replace_all(INVISIBLE_RUN, "")[0] == "发货了"
