"""An address in one line, parted into what is compared: town, street, house number, and what is inside the house."""

from __future__ import annotations

import re

import polars as pl

PARTS = ("locality", "address_line_1", "street_number", "address_line_2")
_HAN = "[\u4e00-\u9fff]"
# A road may be named after a town (新市路, 广场镇街), so what ends a place name is not followed by a road's word.
_PLACE = rf"(?:{_HAN}{{1,8}}?(?:省|自治区|自治州|市|区|县|旗|镇|乡)(?![路街道巷弄大]))*"
_ADDRESS = re.compile(rf"({_PLACE})(?:(\D+?)(?:(\d+)(?:号|弄)?(.*))?)?", re.DOTALL)


def split_address(addresses: pl.Series) -> pl.DataFrame:
    """PARTS of each address; what is not told is NULL.

    An address that begins with its number, as elsewhere, stays one line: a wrong cut would say less than none.

    >>> split_address(pl.Series(["浙江省杭州市西湖区文三路12号3栋201室", "文三路12号", "12highst,leeds", None])).rows()
    [('浙江省杭州市西湖区', '文三路', '12', '3栋201室'), (None, '文三路', '12', None), \
(None, '12highst,leeds', None, None), (None, None, None, None)]
    """
    known = addresses.drop_nulls().unique().to_list()
    parted = pl.DataFrame([(text, *_parts(text)) for text in known], schema=["address", *PARTS], orient="row",
                          schema_overrides=dict.fromkeys(["address", *PARTS], pl.String))  # fmt: skip
    whole = addresses.cast(pl.String).to_frame("address")
    return whole.join(parted, on="address", how="left", maintain_order="left").select(PARTS)


def _parts(address: str) -> tuple[str | None, ...]:
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None, address or None, None, None
    return tuple(part or None for part in found.groups())
