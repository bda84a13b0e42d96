"""What people write around the words of a prompt: weights, tags, parameters, labels, markup, lists of what to avoid.

    "((red:1.3)) fox <lora:fur:.8> --ar 16:9 --no cats"  →  text "red fox", excluded "cats"

None of it names a thing that can be seen, and each dialect has its own signs: A1111 and ComfyUI (`(x:1.3) ((x)) [x]`,
`<lora:…>`, `embedding:…`), compel (`x++`), Midjourney and Pika (`::2`, `--ar`, `-motion`), dynamic prompts (`{a|b}`,
`__wildcard__`). No text raises an error.
"""

import html
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from worker.prompts import quotations
from worker.prompts.english.spelling import is_known
from worker.prompts.vocabulary.grammar import ADJECTIVES, COMPOUNDS, FUNCTION_TAGS
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.numbers import MONTHS
from worker.prompts.vocabulary.people import ANIMATE
from worker.prompts.vocabulary.style import STYLE_HEADS


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt without its signs, not yet split into words."""

    text: str  # what should be seen, in plain words
    excluded: tuple[str, ...] = ()  # what it asks not to show: `--no …`, `Negative prompt: …`
    style: tuple[str, ...] = ()  # what follows a label such as "Style:"


def read(prompt: str) -> Prompt:
    """The words of a prompt without the signs around them."""
    text = _rejoined(quotations.without(_without_markup(_out_of_json(prompt))))
    text, excluded = _split_excluded(_APART.sub("--", text))  # "— ar 16:9"
    text = _without_parameters(text)
    text, style = _split_labels(text)
    text = "".join(_lines(text))
    return Prompt(text=_without_weights(text), excluded=tuple(map(_without_weights, excluded)), style=tuple(style))


_WRAPPED = 60  # characters from which a line may have been broken for its length


def _lines(text: str) -> Iterator[str]:
    """The text with a full stop after each line that stands by itself, as in a list."""
    for line in text.splitlines(keepends=True):
        is_part = len(line) >= _WRAPPED or not line.endswith("\n") or not line.rstrip()[-1:].isalnum()
        yield line if is_part else f"{line.rstrip()} .\n"


# --- what a program wrote ---------------------------------------------------------------------------------------------

_MAX_DEPTH = 8  # of nested lists and objects


def _out_of_json(text: str) -> str:
    """The texts of a prompt that is a JSON object or list, each with its label if that says what it is."""
    if not text.lstrip().startswith(("{", "[")) or '"' not in text:
        return text
    try:
        values = list(_values(json.loads(text), "", _MAX_DEPTH))
    except ValueError:  # brackets of a prompt
        return text
    seen = (value for label, value in values if not _UNWANTED.search(label))
    unwanted = (value for label, value in values if _UNWANTED.search(label))
    return ".\n".join((*seen, *(f"negative prompt: {value}" for value in unwanted)))


_UNWANTED = re.compile(r"negative|exclude|avoid", re.I)
_NO_PICTURE = re.compile(r"(?:^|[ _-])(?:model|sampler|scheduler|seed|id|user|type|role|version|lang(?:uage)?)$", re.I)


def _values(found: object, label: str, depth: int) -> Iterator[tuple[str, str]]:
    """Each text in parsed JSON with its key; values of style with the label that marks style."""
    if isinstance(found, str) and not _NO_PICTURE.search(label):
        is_style = _STYLE_LABEL.search(label) and not _UNWANTED.search(label)
        yield label, f"style: {found.replace('.', ',')}" if is_style else found
    elif isinstance(found, (dict, list)) and depth:
        rows = found.items() if isinstance(found, dict) else ((label, value) for value in found)
        for name, value in rows:
            yield from _values(value, f"{label} {name}" if isinstance(found, dict) else label, depth - 1)


# --- markup -----------------------------------------------------------------------------------------------------------

_PARTS = re.compile(r"\d\$\$")  # {2$$fox|wolf|bear}: how many
_COMMENT = re.compile(r"<!--.*?(?:-->|$)", re.S)
_TAG = re.compile(r"<[/!]?[@#:]?[a-z][^<>\n]{0,120}>|<[@#:][^<>\n]{0,60}>", re.I)
_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)\S+|\b[\w-]+\.(?:com|net|org|io|gg|jp)\b(?:/\S*)?", re.I)
_ADDRESS = re.compile(
    r"[\w.+-]{1,64}@[\w.-]+\.\w+|(?<![\w@])@[\w.]+|(?<!\w)#\d+\b|(?<!\w)#(?=[^\W\d])|:[a-z_]{3,}:(?!\w)", re.I
)
_EMBEDDING = re.compile(
    r"\bembedding:\s?[^\s,()]+|__[\w/*-]+__"
    r"|\bscore_\d+\w*|\b(?:source|rating)_\w+"  # of Pony
    r"|\b(?:easy[-_]?neg\w*|(?:very)?bad[-_]?(?:hands?|prompt|artist|image|dream|pictures?)[-_]?(?:v?\d\w*|neg\w*)"
    r"|ng[-_]deep\w*|negative[-_]?hand\w*|unrealistic[-_]?dream|fast[-_]?neg\w*)\b",
    re.I,
)


_CODES = re.compile(  # of forums and chats
    r"\[img\][^\[\]\n]{0,300}\[/img\]|\[/?(?:img|url|quote|code|size|color|colour|spoiler|center|inst|[bisu])(?:=[^\]\n]{0,80})?\]"
    r"|<\|\w{1,30}\|>\s?(?:(?:user|system|assistant)\b)?|\{\{\s?(?:char|user|prompt|input)\s?\}\}",
    re.I,
)
_WEEKDAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?"
_MONTH = rf"(?:{'|'.join(sorted(MONTHS))})"
_WHEN = re.compile(  # what a calendar or a clock says, which nobody sees
    rf"\b(?:(?:at|by) )?\d{{1,2}}(?::\d\d)? ?[ap]\.?m\b\.?|\b(?:on|every) {_WEEKDAY}\b"
    rf"|\b(?:on|in|since|until) {_MONTH}(?: \d{{1,2}}(?:st|nd|rd|th)?)?(?:,? \d{{4}})?(?= ?(?:[.,;!?]|$|\n))",
    re.I,
)
_CHAT = re.compile(r"\b(?:pls+|plz+|thx|tysm|omg|lmao|rofl)\b|\blol+(?= ?(?:[.,;!?]|$|\n))", re.I)
_EMPHASIS = re.compile(r"(?<![\w*])\*{1,3}(?=[^\s*])([^*\n]+)(?<!\s)\*{1,3}(?![\w*])|`+([^`\n]+)`+")  # **white**
_QUOTED = re.compile(
    r"\b(an?|the) [\"“]([^\W\d_]+)[\"”](?= \w)", re.I
)  # a "red" tram; what a sign says ends its phrase
_HEADING = re.compile(r"^[^\S\n]*(?:#{1,6} +|[-•*] +(?=\S))", re.M)  # "# Ruins", "- a violin"
_HASHTAGS = re.compile(r"(?:(?<![\w&])#[^\W\d]\w*\s*){2,}|(?<=\s)#[^\W\d]\w*\s*$")
_SLUG = re.compile(r"\b(?:INT|EXT|I/E)\b\.?(?:\s?/\s?(?:INT|EXT)\b\.?)?(?=\s+[A-Z])")  # "INT. DINER - NIGHT"
_SHORT_FORMS = ((re.compile(r"\bw/o\b", re.I), "without"), (re.compile(r"(?<![\w/])w/(?=\s|[a-z])", re.I), "with "))


_SIGN = r"[\u2600-\u27bf\U0001f300-\U0001faff]"
_BEFORE_NOUNS = "an?|the|my|in|on|of|at|by|with|under|and|wear(?:s|ing)|hold(?:s|ing)|eat(?:s|ing)|rid(?:es|ing)"
_SIGN_AS_NOUN = re.compile(  # where a noun is missing: "a 🐶 wearing 🕶️", "🐱 on a 🛹"; but not "a cat 😍"
    rf"(^|[,;.] |\b(?:{_BEFORE_NOUNS}) )({_SIGN})\ufe0f?"
    r"(?=\s*$|\s?[.,;!?]| (?:in|on|at|under|with|and|or|near|is)\b"
    r"| (?:wear|hold|eat|rid|play|driv|fly|sit|stand)(?:s|es|ing|ting)\b)",
    re.I,
)
_NO_THINGS = re.compile(r"\b(?:face|hand|sign|mark|arrow|button|black|heavy|heart|fingers?|thumbs)\b")


def with_named_signs(text: str) -> str:
    """The text with the names of things for the signs that stand in for their nouns: a dog for 🐶."""
    return text if text.isascii() else _SIGN_AS_NOUN.sub(_named, text)


def _named(match: re.Match[str]) -> str:
    """What a sign shows by its name in Unicode, but for moods and marks: 🐱 is a cat, 😂 stays."""
    name = re.sub(
        r" (?:face|building)$|^(?:dark|european|deciduous|evergreen) ", "", unicodedata.name(match[2], "face").lower()
    )
    return match[0] if _NO_THINGS.search(name) or name.count(" ") > 1 else f"{match[1]}{name}"


_Signs = frozenset[str]  # of which what a pattern looks for has one; none: it may have any
_MARKUP: tuple[tuple[re.Pattern[str], _Signs], ...] = (  # most prompts have none of these signs
    (_COMMENT, frozenset("<")),
    (_PARTS, frozenset("$")),
    (_CODES, frozenset("[<{")),
    (_TAG, frozenset("<")),
    (_URL, frozenset(".:")),
    (_ADDRESS, frozenset("@#:")),
    (_EMBEDDING, frozenset()),
    (_SLUG, frozenset()),
    (_WHEN, frozenset()),
)


def _without_markup(text: str) -> str:
    if "&" in text:
        text = html.unescape(html.unescape(text))
    text = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text))
    text = re.sub(r"<([a-z]+)>", _in_angles, text, flags=re.I)
    if "#" in text:
        text = _HASHTAGS.sub(lambda match: f" {match[0].replace('#', ', ')} ", text)
    for pattern, signs in _MARKUP:
        if not signs or not signs.isdisjoint(text):
            text = pattern.sub(" ", text)
    text = _CHAT.sub(" , ", with_named_signs(text))
    text = _HEADING.sub(". ", _EMPHASIS.sub(lambda match: match[1] or match[2], text))
    text = _QUOTED.sub(r"\1 \2", text)
    for short, full in _SHORT_FORMS:
        text = short.sub(full, text)
    text = text.replace("’", "'").replace("‘", "'")
    return re.sub(r"(?<=\w)'-(?=\w)", "-", text)  # jack-o'-lantern


# --- what a tokenizer tore apart -------------------------------------------------------------------------------------

_HYPHEN = re.compile(r"(?<![^\s(,])([^\W\d_]+) - ([^\W\d_]+)\b")
_DIGITS = re.compile(r"(?<!\d )(?<![\w.:])\d(?: \d){1,3}(?![\d.:]| \d)(?=( ?)(s\b|mm\b)?)")
_INITIALS = re.compile(r"\b([a-z])\. ?(?=(?:[a-z]\. ?)*[a-z]{3,}\b)|\b([a-z])\.(?=[a-z]\.)", re.I)
_ENDS = ("ed", "ing", "en", "eyed", "like", "style", "free", "lit")
_SECOND = word_set(
    "up fi style pop key grade patch angle shot quality res resolution light detailed realistic luminescent pink blue "
    "green red black white grade winning definition focus range wide out down life size face"
)
_FIRST = word_set(
    "hyper ultra semi post pre non anti half self well low high wide full mid multi bio cyber neo sci award over close "
    "short extra super micro macro photo t x sun moon snow blood"
)


def _rejoined(text: str) -> str:
    """Puts "close - up", "3 5 mm" and "1 9 8 0 s" together again, and takes the dots from initials and titles."""
    if " - " in text:
        text = _HYPHEN.sub(_hyphenated, text)
    text = _DIGITS.sub(lambda match: match[0].replace(" ", ""), text)
    text = re.sub(r"\b(\d{2,4}) s\b", r"\1s", text)
    text = re.sub(r"\b(\d)(girls?|boys?|m[ae]n|wom[ae]n|people)\b", r"\1 \2", text, flags=re.I)
    text = re.sub(r"\b(dr|mr|mrs|ms|st|prof)\.(?= ?[a-z])", r"\1 ", text, flags=re.I)
    return _INITIALS.sub(lambda match: f"{match[1] or match[2]} ", text)


def _hyphenated(match: re.Match[str]) -> str:
    first, second = match[1].lower(), match[2].lower()
    is_being = second in ANIMATE and first not in STYLE_HEADS and is_known(first)
    if f"{first} {second}" in COMPOUNDS or is_being:
        return f"{match[1]} {match[2]}"  # ice - cream, cyborg - girl
    is_one = first in _FIRST or second in _SECOND or second.endswith(_ENDS) or len(first) == 1
    return f"{match[1]}-{match[2]}" if is_one else match[0]


# --- what is asked not to be shown -----------------------------------------------------------------------------------

_SETTINGS_OF_A_RUN = (
    r"(?:steps|sampler|cfg(?: scale)?|seed|size|model(?: hash)?|clip skip|denoising strength|hires \w+|schedule type)"
)
_OF_LABELS = frozenset(":=[")  # one of which each label has
_NEGATIVE = re.compile(
    rf"\bneg(?:ative)?(?:[ _-]?prompts?)?\s*[:=]\s*(.*?)(?=\bpositive prompt\s*:|\b{_SETTINGS_OF_A_RUN}\s*:|$)",
    re.I | re.S,
)
_UNWANTED_LIST = re.compile(
    r"(?:^|(?<=[.;,!?\n]))\s*(?:avoid|exclude|omit|(?:please )?(?:do not|don't) (?:include|show|add)|unwanted|no)"
    r"\s*:\s*([^.;\n]*)",
    re.I,
)
_NEGATIVE_CHINESE = re.compile(r"(?:负面|反向|负向|否定)(?:提示|描述)?词?\s*:\s*([^。\n]*)")
_NEGATIVE_WEIGHT = re.compile(r"(^|::\s*[\d.]*|\n)([^:\n]+?)::\s*-(?:\d+\.?\d*|\.\d+)")  # "boat::2 people::-.5"
_NO_PARAMETER = re.compile(r"(?<![\w-])--?(?:no|neg|negative)(?:[ =:]+)(.+?)(?=\s--?[a-z]|$)", re.I | re.S)


def _split_excluded(text: str) -> tuple[str, list[str]]:
    if _OF_LABELS.isdisjoint(text) and "-" not in text:
        return text, []
    excluded: list[str] = []

    def take(match: re.Match[str]) -> str:
        excluded.append(match[1].strip(" \"'.,"))
        return " . "

    text = _NEGATIVE.sub(take, text)
    text = _NEGATIVE_CHINESE.sub(take, text)
    text = _UNWANTED_LIST.sub(take, text)
    text = _NO_PARAMETER.sub(take, text)
    while (weighted := _NEGATIVE_WEIGHT.search(text)) is not None:
        excluded.append(weighted[2].strip(" \"'.,"))
        text = f"{text[: weighted.end(1)]} :: {text[weighted.end() :]}"
    return text, [part for part in excluded if part]


# --- parameters and labels ------------------------------------------------------------------------------------------

_VALUE = r"-?\d[\d.]*(?:[:x/]\d[\d.]*)?%?"
_CAMERA_MOVE = (
    r"(?:(?:zoom|pan|rotate|tilt|in|out|left|right|up|down|cw|ccw|clockwise|anticlockwise|counterclockwise)\b\s*)*"
)
_PARAMETERS = (
    re.compile(rf"(?<![\w-])--?camera\b\s*{_CAMERA_MOVE}(?:{_VALUE})?", re.I),
    re.compile(rf"(?<![\w-])--?style\b[ =]+(?:raw|scenic|expressive|cute|original|\d\w*|{_VALUE})", re.I),
    re.compile(
        r"(?<![\w-])--(?:ar|aspect|v|version|s|stylize|q|quality|c|chaos|seed|iw|niji|uplight|upbeta|test|testp|hd|w|"
        r"weird|tile|stop|sref|cref|cw|sw|profile|p|motion|gs|fps|raw|video|loop|end|fast|relax|turbo|repeat|r|draft|"
        r"duration|width|height|h|steps|cfg|n|creative|beta|vibe|sameseed|style)\b"
        rf"(?:[ =:]+(?:{_VALUE}|random|high|low|medium|\w*\d\w*))*",
        re.I,
    ),
    re.compile(rf"(?<![\w-])-(?:ar|v|s|q|motion|gs|fps|seed|c|iw|hd|w|h|n|cfg|steps)\b(?:[ =:]+(?:{_VALUE}))+", re.I),
    re.compile(r"(?<![\w-])-(?:ar|motion|gs|fps|seed)\b", re.I),
    re.compile(r"\bar:? ?\d{1,2} ?[:x/] ?\d{1,2}\b", re.I),  # "a train ar 16:9"
    re.compile(r"\b(?:motion|length|guidance|seed|cfg(?: scale)?|clip skip)\s?[:=]?\s?\d+(?:\.\d+)?\b", re.I),
    re.compile(rf"\b(?:{_SETTINGS_OF_A_RUN}|scheduler|fps|motion bucket)\s*[:=]\s*[\w.+ -]+?(?=[,|\n]|$)", re.I),
)
_OF_PARAMETERS = frozenset("-:=0123456789")  # one of which each of them has
_COMMAND = re.compile(r"^\s*[/!](?:imagine|create|animate|video|dream|generate|prompt|txt2vid|draw)\b[:\s]*", re.I)
_SPLIT = re.compile(r"\b(?:BREAK|ADDCOMM|ADDBASE|ADDCOL|ADDROW)\b")
_LABEL_NAMES = (
    r"(?:(?:positive|main|full|final|video|text|image|initial|user|motion|scene)[ _-]?prompts?|prompts?"
    r"|(?:scene|shot|clip|frame|part|step|panel|act|video|option|image|sequence|cut)(?:\s*(?:#?\d+|[ivx]+|one|two|three))?"
    r"|titles?|descriptions?|subjects?|settings?|backgrounds?|foreground|actions?|location|place|environment|characters?"
    r"|caption|text|topic|theme|details?|idea|concept|story|script|input|output|message|note|time|weather"
    r"|(?:art |visual |video )?styles?|aesthetics?|moods?|tones?|camera(?: \w+)?|quality|medium|resolution|format|genre"
    r"|user|assistant|system|human|narrator|lighting|lens|colou?r palette|film stock|aspect ratio|fps|duration|length"
    r"|artists?)"
)
_LABEL = re.compile(
    rf"(?:^|(?<=[\n.;!?,\"]))[\s*#_•>\"'-]{{0,16}}({_LABEL_NAMES}[*_]*\s*[:=][*_]*)(?!\S*\d:)\s*",
    re.I,
)
_BRACKETED = re.compile(rf"\[({_LABEL_NAMES})\]:?", re.I)  # "[Subject] a dancer [Setting] a theatre"
_STYLE_LABEL = re.compile(
    r"lighting|style|aesthetic|mood|tone|camera|quality|medium|resolution|format|genre|lens|palette|stock|ratio|fps|duration"
    r"|length|artist",
    re.I,
)


_APART = re.compile(r"(?<!\S)(?:--|[—–]) ?(?=(?:ar|v|s|q|c|iw|no|niji|seed|chaos|style|stylize|quality|version)\b)")


def _without_parameters(text: str) -> str:
    text = _COMMAND.sub("", text)
    for pattern in _PARAMETERS if not _OF_PARAMETERS.isdisjoint(text) else ():
        text = pattern.sub(" ", text)
    return _SPLIT.sub(" , ", text)


_NUMBERED = re.compile(
    r"\b((?:scene|shot|clip|frame|part|step|panel|act|cut)\s*#?(?:\d+|[ivx]+))\s*[(\[]([^()\[\]\n]*)[)\]]\s*:", re.I
)


def _split_labels(text: str) -> tuple[str, list[str]]:
    """The text without its labels, and the values of labels that say how the video looks."""
    if _OF_LABELS.isdisjoint(text):
        return text, []
    if len(_BRACKETED.findall(text)) > 1:
        text = _BRACKETED.sub(r". \1: ", text)
    text = _NUMBERED.sub(r"\1: \2. ", text)  # "Shot 3 (close-up): ..."
    parts: list[str] = []
    style: list[str] = []
    position = 0
    is_style = False
    for match in (*_LABEL.finditer(text), None):
        value = text[position : match.start() if match else len(text)]
        if is_style:  # up to the end of the sentence
            value, *rest = re.split(r"(?<=[.\n;])", value, maxsplit=1)
            style.append(" ".join(value.strip(" .;,\n").lower().split()))
            value = rest[0] if rest else ""
        parts.append(value)
        if match:
            position, is_style = match.end(), bool(_STYLE_LABEL.search(match[1]))
    return " . ".join(part for part in parts if part.strip()) if len(parts) > 1 else text, [s for s in style if s]


# --- weights --------------------------------------------------------------------------------------------------------

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_OPERATOR = re.compile(r"(?<=[)\"'])\s?\.(?:blend|and)\([^()]*\)")  # ("a tulip", "a rose").blend(.7, .3)
_SWAPPED = re.compile(
    r"(?:\([^()]*\)|\"[^\"]*\"|(?<!\w)\w{1,40})\.swap\(([^()]*?)(?:,\s*\w+=[^()]*)?\)"
)  # cat.swap(dog)
_MAX_NESTING = 8
_BRACKETS = frozenset("()[]{}")
_EDITED = re.compile(rf"\[([^\[\]:]*):([^\[\]:]*):\s*{_NUMBER}\s*\]")  # [fox:wolf:0.5]: one, then the other
_WEIGHTED = re.compile(rf"[(\[{{]([^()\[\]{{}}]*?)\s*:+\s*{_NUMBER}\s*[)\]}}]")  # (fox:1.3)
_CHOICE = re.compile(r"[\[{]([^\[\]{}]*\|[^\[\]{}]*)[\]}]")  # {fox|wolf}
_DOUBLED = re.compile(r"\(\(([^()]*)\)\)|\[\[([^\[\]]*)\]\]|\{\{([^{}]*)\}\}")
_SINGLE = re.compile(r"\[([^\[\]]*)\]|\{([^{}]*)\}")
_FACTOR = re.compile(rf"\(([^()]*)\)\s*(?:{_NUMBER}|[+-]+)(?=[\s,.]|$)")  # (fox)1.3, (fox)++
_ROUND = re.compile(r"((?<!\w)\w{1,40}|)( ?)\(([^()]*)\)")
_AFTER_WORD = re.compile(rf"(?<=[^\W\d]):{_NUMBER}(?![\w:])|(?<=\w)(?:\+{{1,6}}|-{{2,6}})(?=[\s,.;)]|$)")
_WEIGHTED_LOOK = re.compile(rf"\b([a-z-]+)::\s*{_NUMBER}\s+(?=[a-z])", re.I)  # "a red::2 lantern"
_SEPARATOR = re.compile(rf"::\s*(?:{_NUMBER})?|[|]")


def _without_weights(text: str) -> str:
    text = re.sub(r"\\([()\[\]{}])", r"\1", text)  # an escaped bracket is a bracket
    text = _SWAPPED.sub(r"\1", _OPERATOR.sub("", text))
    for _ in range(_MAX_NESTING) if not _BRACKETS.isdisjoint(text) else ():
        before = text
        text = _EDITED.sub(r" \1, \2 ", text)
        text = _CHOICE.sub(lambda match: f" {match[1].replace('|', ', ')} ", text)
        text = _WEIGHTED.sub(_unwrapped, text)
        text = _FACTOR.sub(_unwrapped, text)
        text = _DOUBLED.sub(_doubled, text)
        text = _SINGLE.sub(_unwrapped, text)
        if text == before:
            break
    if "(" in text:
        text = _ROUND.sub(_aside, text)
    text = _AFTER_WORD.sub(" ", text)
    text = _WEIGHTED_LOOK.sub(lambda match: f"{match[1]} " if _describes(match[1]) else match[0], text)
    return _SEPARATOR.sub(" , ", text)


def _doubled(match: re.Match[str]) -> str:
    """Removes one pair of brackets: what remains is emphasis down to the last pair."""
    inner = next(group for group in match.groups() if group is not None)
    return f"({inner}:1)"


def _unwrapped(match: re.Match[str]) -> str:
    inner = next((group for group in match.groups() if group is not None), "")
    if "," not in inner:
        return inner if inner[:1] > _LAST_OF_LATIN else f" {inner} "  # (红色:1.3)的船
    after = _NEXT_WORD.match(match.string, match.end())
    if after and after[1].lower() not in FUNCTION_TAGS and all(map(_describes, inner.split(","))):
        return f" {inner.replace(',', ' ')} "  # "(red, shiny:1.2) apple"
    return f" , {inner} , "


_LAST_OF_LATIN = "\u2e7f"  # from here on, scripts without blanks
_NEXT_WORD = re.compile(r" ?([^\W\d_]+)")


def _in_angles(match: re.Match[str]) -> str:
    """A word in angle brackets that is no tag: <person>, a <red> gondola; but not <big>a fox</big>."""
    word = match[1].lower()
    is_tag = f"</{word}>" in match.string.lower()
    return match[1] if (word == "person" or _describes(word)) and not is_tag else match[0]


def _describes(text: str) -> bool:
    """Whether a text is one word that says what a thing is like."""
    word = text.strip().lower()
    return word in ADJECTIVES or any(word in group for group in CONFLICT_GROUPS.values())


def _aside(match: re.Match[str]) -> str:
    """A plain round bracket: emphasis where a phrase is open, else an aside of its own."""
    before, blank, inner = match.groups()
    is_open = not before or before.lower() in FUNCTION_TAGS or before.lower() in ADJECTIVES
    return f"{before}{blank} {inner} " if is_open and "," not in inner else f"{before} , {inner} , "
