"""Prompts prepared for models of the Open-Sora family, identically on every Python; the API uses this too.

The rules follow diffusers (Apache-2.0, `IFPipeline._clean_caption`) with one difference that the recorded behaviour of
Open-Sora shows: the text is stripped once more after HTML entities are resolved. Markup is removed by a grammar of our
own: Python's HTML parser, which the original uses, reads broken tags differently in each release.
"""

import html
import re
from html.entities import html5
from typing import TypeAlias
from urllib.parse import unquote_plus

import ftfy

Rules: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]


def _rules(*pairs: tuple[str, str]) -> Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_DOMAIN = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b\/?(?!@)"
_URLS = _rules(
    (rf"\b((?:https?:(?:\/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN}))", ""),
    (rf"\b((?:www:(?:\/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN}))", ""),
)
_FILE_ENDINGS = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
_DASHES = (
    r"\u002D\u058A\u05BE\u1400\u1806\u2010-\u2015\u2E17\u2E1A\u2E3A\u2E3B\u2E40"
    r"\u301C\u3030\u30A0\uFE31\uFE32\uFE58\uFE63\uFF0D"
)
_SYMBOLS = _rules(
    (r"@[\w\d]+\b", ""),  # @names
    (r"[\u31c0-\u31ef]+", ""),  # CJK strokes
    (r"[\u31f0-\u31ff]+", ""),  # katakana extensions
    (r"[\u3200-\u4dff]+", ""),  # enclosed letters, compatibility, ideographs A, hexagrams
    (r"[\u4e00-\u9fff]+", ""),  # ideographs
    (rf"[{_DASHES}]+", "-"),
    (r"[`´«»“”¨]", '"'),
    (r"[‘’]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),  # IP addresses
    (r"\d:\d\d\s+$", ""),  # a clock time at the end, only if blanks follow
    (r"\\n", " "),  # backslash and n, two characters
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"[\S]+\.(?:{_FILE_ENDINGS})", ""),  # file names
    (r"[\"\']{2,}", '"'),
    (r"[\.]{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~\)\(\]\[\}\{\|\\/\*]{1,}", " "),
    (r"\s+\.\s+", " "),
)
_JOINER = re.compile(r"[-_]")
_MAX_JOINERS = 3  # a text with more is a file name or a slug
_JUNK = _rules(
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # jc6640
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),  # jc6640vc
    (r"\b\d+[a-zA-Z]+\d+\b", ""),  # 6640vc231
    (r"(worldwide\s+)?(free\s+)?shipping", ""),
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILE_ENDINGS})(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),  # j2d1a2a
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),  # 1920x1080, also with a Cyrillic x
    (r"\b\s+\:\s+", ": "),
    (r"(\D[,\./])\b", r"\1 "),
    (r"\s+", " "),
    (r"^[\"\']([\w\W]+)[\"\']$", r"\1"),
    (r"^[\'\_,\-\:;]", ""),
    (r"[\'\_,\-\:\-\+]$", ""),
    (r"^\.\S+$", ""),
)


def prepare_caption(prompt: str) -> str:
    """The text that the tokenizer gets: cleaned twice, because one pass leaves what it uncovers itself."""
    return clean_caption(clean_caption(prompt))


def clean_caption(text: str) -> str:
    """One pass of cleaning: lower case, without links, markup, identifiers, shop phrases and odd punctuation."""
    text = unquote_plus(text).strip().lower().replace("<person>", "person")
    text = _apply(_SYMBOLS, _without_markup(_apply(_URLS, text)))
    if len(_JOINER.findall(text)) > _MAX_JOINERS:
        text = _JOINER.sub(" ", text)
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return _apply(_JUNK, text).strip()


def _apply(rules: Rules, text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


# Tags, comments, declarations and what is never shown; a tag that does not end is text. Possessive: linear in the text.
_MARKUP = re.compile(
    r"""
      <!\[cdata\[(?P<text>.*?)\]\s*\]\s*>
    | <!--.*?--\s*>
    | <(?P<hidden>script|style|template|rt|rp)(?:\s[^>]*+)?>.*?(?:</(?P=hidden)\s*>|\Z)
    | <[a-z](?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')|=)*+>
    | <(?:/|\?|!(?!--|\[cdata\[))[^>]*+>
    | &\#(?P<number>[0-9]++|x[0-9a-f]++)(?:;|(?=.))
    | &(?P<name>[a-z][-.a-z0-9]*+)(?:;|(?=.))
    """,
    re.VERBOSE | re.DOTALL,
)


def _without_markup(text: str) -> str:
    """The text of lower case without its markup, entities resolved."""
    return _MARKUP.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    if number := found["number"]:
        return html.unescape(f"&#{number};")
    if name := found["name"]:
        return html5.get(f"{name};", f"&{name}")
    return found["text"] or ""
