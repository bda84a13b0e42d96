"""What a prompt wants written or said: letters on a sign and words of a dialogue do not show what they name.

    'a mug labelled "whale" on a shelf'  →  'a mug labelled  on a shelf'

Only what a word before or after it calls written or said is removed: quotation marks also stand around things, whole
prompts and names. No text raises an error.
"""

import re

_MARKS = ("“”", "„“", "„”", "«»", "»«", "‹›", "「」", "『』", "《》", "‘’", '""')  # opening and closing
_LONGEST = 200  # characters between two marks
_BETWEEN = "|".join(rf"{pair[0]}[^{pair}\n]{{1,{_LONGEST}}}{pair[1]}" for pair in _MARKS)
_QUOTE = rf"(?:{_BETWEEN}|(?<!\w)'[^'\n]{{1,{_LONGEST}}}'(?!\w))"

_SAYS = (
    r"says?|said|saying|states?|stating|reads?|reading|spells?|spelling|shouts?|shouting|yells?|yelling|screams?|screaming"
    r"|whispers?|whispering|asks?|asking|replies|answers?|exclaims?|announces?|sings?|singing|speaks?|speaking|writes?"
    r"|writing|label(?:l?ed|l?ing)|marked|inscribed|captioned|titled|entitled|emblazoned|named|nicknamed|called"
    r"|dice|dicen|pone|reza|escrito|llamad[oa]|titulad[oa]|grita"
    r"|dit|disant|indique|nommée?|appelée?|intitulée?|crie"
    r"|steht|sagt|lautet|namens|ruft|betitelt|beschriftet mit"
    r"|diz|dizendo|chamad[oa]|intitulad[oa]"
    r"|dice|dicono|scritto|chiamat[oa]|intitolat[oa]"
    r"|гласит|говорит|написано|кричит|названи(?:е|ем)"
)
_SEEN_LETTERS = r"letters|lettering|label|logo|буквы|буквами"  # seen themselves; what follows is not
_LETTERS = (
    r"words?|text|inscription|caption|slogan|message|phrase|sentence|title|headline|name"
    r"|palabras?|texto|inscripción|frase|título|nombre|mots?|texte|phrase|titre|nom"
    r"|Worte?n?|Text|Aufschrift|Schriftzug|Satz|Titel|Namen"
    r"|palavras?|inscrição|nome|parol[ae]|testo|scritta|iscrizione|titolo"
    r"|надпис(?:ь|ью|ями)|слов(?:о|а|ом|ами)|текст(?:ом)?"
)
_WRITTEN = (
    r"(?:(?:is|are|was|were|in|neatly|clearly|boldly) ){0,2}"
    r"(?:written|printed|painted|embroidered|carved|engraved|spelled|spelt|stitched|tattooed|scrawled|sprayed|etched)\b"
    r"|in (?:\w+ ){0,3}letters\b|(?:\w+ )?(?:geschrieben|écrit|escrito|scritto)\b"
)
# Chinese, Japanese and Korean: before 写着 写有 名叫 说, after と書かれた という 라고 적힌
_SAYS_EAST = r"写着|写有|写上|寫著|寫有|印着|印有|刻着|标有|標有|字样为|名叫|名为|叫做|说|說|喊"
_WRITTEN_EAST = (
    r"(?:と|って)?(?:書|描|記|印刷|刺繍|刻)(?:か|さ|ま)|という|と(?:言|叫|話|名付け)"
    r"|(?:이)?라(?:고|는)\s?(?:적|쓰|쓴|써|말|외|이름)|字样|字樣|的字"
)
_TO_WHOM = r"(?: to (?:\w+ ?){1,3})?(?:[:,]| the (?:words?|text|letters?|phrase))?\s{0,3}"

_AFTER = re.compile(
    rf"(?P<cue>(?<!\w)(?:{_SAYS}){_TO_WHOM}|(?<!\w)(?:{_SEEN_LETTERS}) {{1,3}}|(?:{_SAYS_EAST})(?:着|道)?[:：,，]?\s?)"
    rf"(?:{_QUOTE})|(?<!\w)(?:{_LETTERS}) {{1,3}}(?:{_QUOTE})",
    re.I,
)
_BEFORE = re.compile(rf"{_QUOTE}(?=\s{{0,3}}(?:{_WRITTEN}|{_WRITTEN_EAST}))", re.I)
_PICTURE = re.compile(
    r"\b(?:video|clip|film|movie|animation|scene|short|picture|image|photo|painting)s?\s(?:\w+\s)?$", re.I
)
# "a sign that says free fish": up to where the sentence goes on
_SIGNS = (
    "sign|signs|banner|billboard|poster|plaque|board|placard|sticker|card|label|screen|note|badge|shirt|t-shirt|tshirt|cap"
    "|hat|mug|cake|text|tattoo|graffiti|letter|display|headline"
)
_UNQUOTED = re.compile(
    rf"\b((?:that|which) says?|saying|(?:{_SIGNS}) (?:that |which )?(?:reads?|reading))\s+"
    r"(?![\"“„«'‘])[^,.;:!?\n\"“”]{1,80}?"
    r"(?=\s+(?:on|in|at|with|above|over|under|beside|behind|to|next|while|as|and an?|hangs?|stands?)\b|[,.;:!?\n]|$)",
    re.I,
)
# what somebody is called in languages that English rules do not read; a name has a capital, or stands before 的
_MAY_QUOTE = frozenset("".join(_MARKS)) | {"'"}
_NAMES = re.compile(
    r"(?<!\w)(?:namens|llamad[oa]|de nombre|nommée?|appelée?|chiamat[oa]|di nome|chamad[oa]|de nome|по имени|по кличке)"
    r"(?: [^\W\d_a-zа-яßàâäçèéêëìíîïñòóôöùúûü][\w-]*){1,3}"
)
_NAMES_EAST = re.compile(
    r"(?:名叫|叫做|名为|取名|叫)[^\s，。、的]{1,6}(?=的)"
    r"|[^\s、。，のがはを]{1,8}(?=という名(?:前)?の)|\S{1,8}(?<!이)이?라는 이름의"
)


def without(text: str) -> str:
    """The text without what it wants written or said, and without names that are ordinary words elsewhere."""
    if not _MAY_QUOTE.isdisjoint(text):
        text = _BEFORE.sub(" ", _AFTER.sub(_kept, text))
    text = _NAMES.sub(" ", _UNQUOTED.sub(r"\1", text))
    return text if text.isascii() else _NAMES_EAST.sub(" ", text)


def _kept(match: re.Match[str]) -> str:
    """What is kept of a cue and its quotation: everything if a picture is named by what it shows."""
    is_picture = match["cue"] and _PICTURE.search(match.string, max(0, match.start() - 30), match.start())
    return match[0] if is_picture else match["cue"] or " "
