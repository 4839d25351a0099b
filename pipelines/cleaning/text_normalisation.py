"""What of a text can be seen, what of it says something, and when two texts say the same."""

import polars as pl

# Characters that leave no mark: white space, controls, format characters (zero-width, bidi, BOM, soft hyphen),
# blanks that Unicode counts as letters or symbols (Hangul fillers, braille blank: popular as "empty" messages),
# variation selectors, the combining grapheme joiner, object replacement. Some format characters of Arabic, Syriac and
# Kaithi are drawn: those are seen.
INVISIBLE_CLASS = (
    r"\s\p{Cc}[\p{Cf}--[\x{600}-\x{605}\x{6DD}\x{70F}\x{890}\x{891}\x{8E2}\x{110BD}\x{110CD}\x{FFF9}-\x{FFFB}]]"
    r"\x{115F}\x{1160}\x{3164}\x{FFA0}\x{2800}\x{034F}\x{17B4}\x{17B5}\x{180B}-\x{180F}"
    r"\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}\x{FFFC}"
)
VISIBLE = rf"[^{INVISIBLE_CLASS}]"
# Emoji carry meaning. Left out: pictographs that are punctuation, trade signs, arrows or squares to a reader.
EMOJI_CLASS = r"[\p{Extended_Pictographic}\x{1F1E6}-\x{1F1FF}--[‼⁉©®™〰〽↔-↪⤴⤵⬅-⬇➡▪-◾]]"
SAYS_SOMETHING = rf"[^{INVISIBLE_CLASS}\p{{P}}\p{{S}}]|{EMOJI_CLASS}"
INVISIBLE_RUN = rf"[{INVISIBLE_CLASS}]+"
_MARKS_RUN = rf"[{INVISIBLE_CLASS}\p{{P}}[\p{{S}}--{EMOJI_CLASS}]]+"

_CASELESS = pl.col("said").str.normalize("NFKC").str.to_lowercase()
_BARE = _CASELESS.str.replace_all(_MARKS_RUN, "").alias("bare")
_SEEN = _CASELESS.str.replace_all(INVISIBLE_RUN, "").alias("seen")


def folded_content(text: pl.Series) -> pl.Series:
    """The content by which two texts are one: full-width folded, lower case, white space and punctuation out.

    A text of marks only keeps its marks, so that '???' and '!!!' stay two texts.

    >>> folded_content(pl.Series(["ＡＢ　太慢了！！！", "ab太慢了。", "太慢\\u200b了", "??", None])).to_list()
    ['ab太慢了', 'ab太慢了', '太慢了', '??', None]
    """
    said = text.alias("said").to_frame()
    bare = said.select(_BARE).to_series().alias(text.name)
    is_said = bare != ""
    return bare if is_said.all() else bare.zip_with(is_said, said.select(_SEEN).to_series())
