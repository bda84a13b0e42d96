"""Phrases of languages that put a particle after their nouns: Japanese, Korean.

    "窓辺で眠る赤い猫、人はいない"  →  窓辺 (scene) · 赤い猫 (object);   excluded: 人

Each language tags its words (`Token.role`); the rule is shared: descriptions, then nouns, and what follows them
says whether they are a place, a comparison, or absent.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

from worker.prompts.readers.lexicon import Meaning, Sort
from worker.prompts.readers.reading import TWO_COLOURS, Found, Reading, Said, Worded, entity
from worker.prompts.types import Entity


class Role(Enum):
    """What a word or particle does in a sentence."""

    NOUN = auto()
    ADJECTIVE = auto()
    NUMBER = auto()
    COUNTER = auto()  # a counter: 匹, 마리
    LINK = auto()  # の, 의
    PLACE = auto()  # the words before are where something is
    PARTICLE = auto()  # any other
    SIDE = auto()  # on, in, under: 上, 위
    BE = auto()  # is there
    NONE = auto()  # is not there
    NOBODY = auto()
    LIKE = auto()  # the words before are compared with
    VERB = auto()
    END = auto()


@dataclass(slots=True)
class Token(Worded):
    """A word with its role."""

    text: str
    role: Role
    meaning: Meaning | None = None
    noun: Meaning | None = None  # what it means as the noun of a phrase
    is_style: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What a language does with its words."""

    blank: str  # between the words of a phrase
    joins: Callable[[Token, Token], bool]  # whether two nouns in a row are one thing
    noun: Callable[[str], Meaning | None]  # the meaning of nouns joined to one
    kinds: frozenset[str] = frozenset()  # nouns whose kind a noun linked to them names


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Nouns with what describes them."""

    described: tuple[Token, ...]
    nouns: tuple[Token, ...]
    counts: tuple[str, ...]
    stop: int


def read(tokens: Sequence[Token], language: Language) -> Reading:
    """The entities, the excluded entities and the style of tagged words."""
    found = Found()
    i = 0
    while i < len(tokens):
        i = _next(tokens, i, language, found)
    return found.reading()


def _next(tokens: Sequence[Token], i: int, language: Language, found: Found) -> int:
    """Reads what stands at i; returns where the next thing begins."""
    if tokens[i].role is Role.NOBODY:
        found.add_nobody(tokens[i].text)
        return i + 1
    phrase = _phrase(tokens, i, language)
    if phrase is None:
        if tokens[i].is_style:
            found.add_style(tokens[i].text, (tokens[i].said.english,))
        return i + 1
    stop = phrase.stop
    is_look = all(token.said.english == TWO_COLOURS for token in phrase.nouns)
    whole = language.noun(language.blank.join(token.text for token in phrase.nouns))
    is_look = is_look or (whole is not None and whole.sort is Sort.STYLE)  # 드론 샷
    if is_look or phrase.nouns[-1].is_style or _is_manner(phrase.nouns[-1]):
        words = (*phrase.described, *phrase.nouns)
        found.add_style(language.blank.join(token.text for token in words), (token.said.english for token in words))
        return stop
    after = _after(tokens, stop)
    if after is Role.LIKE:
        return stop + 1
    said, end = _said(tokens, stop)
    if stop < len(tokens) and tokens[stop].role is Role.LINK and phrase.described:
        said, end = (), stop  # 青い目の白い犬: the dog is white, where 髪の長い女 has long hair
    described = replace(phrase, described=(*said, *phrase.described))
    found.add(_entity(described, language, is_place=after is Role.PLACE), is_excluded=after is Role.NONE)
    for token in phrase.described:
        if token.is_style:
            found.add_style(token.text, (token.said.english,))
    return end


def _is_manner(noun: Token) -> bool:
    return (noun.noun is not None and noun.noun.english == "manner") or noun.text == "的"  # 幻想的


def _phrase(tokens: Sequence[Token], i: int, language: Language) -> Phrase | None:
    """The phrase that begins at i, None if none does."""
    described: list[Token] = []
    counts: list[str] = []
    while i < len(tokens):
        token = tokens[i]
        after = tokens[i + 1].role if i + 1 < len(tokens) else Role.END
        following = tokens[i + 2].role if i + 2 < len(tokens) else Role.END
        if token.role is Role.NUMBER:
            counts.append(token.said.english)
        elif token.role is Role.ADJECTIVE:
            described.append(token)
        elif token.role is Role.NOUN and _describes(token) and after in (Role.NOUN, Role.ADJECTIVE):
            described.append(token)  # "나무 테이블"
        elif _is_pair(tokens, i):
            described += [replace(token, text=token.text + tokens[i + 1].text)]  # "赤と青の家"
            i += 1
        elif token.role is Role.NOUN and _describes(token) and after is Role.LINK and following is not Role.SIDE:
            i += 1
            described.append(replace(token, text=token.text + tokens[i].text))  # "木のテーブル"
        elif token.role is Role.NOUN and after is Role.LINK and _makes_one(token, tokens[i + 2 : i + 3], language):
            i += 1
            described.append(replace(token, text=token.text + tokens[i].text))  # "パンダの着ぐるみ"
        elif token.role is not Role.COUNTER and not (token.role is Role.LINK and counts):
            break
        i += 1
    nouns: list[Token] = []
    while i < len(tokens) and tokens[i].role is Role.NOUN:
        is_joined = bool(nouns) and (
            language.joins(nouns[-1], tokens[i]) or _is_one_word(nouns[-1], tokens[i], language)
        )
        if nouns and (not is_joined or (nouns[-1].is_style and _is_seen(tokens[i]))):
            break  # 로우앵글 성: an angle, and a castle
        nouns.append(tokens[i])
        i += 1
    if not nouns:
        return None
    if i < len(tokens) and tokens[i].role is Role.NUMBER and not _counts_next(tokens, i):
        counts.append(tokens[i].said.english)  # "고양이 두 마리"
        i += 1
        i += i < len(tokens) and tokens[i].role is Role.COUNTER
    return Phrase(described=tuple(described), nouns=tuple(nouns), counts=tuple(counts), stop=i)


def _is_seen(token: Token) -> bool:
    """Whether a noun names something visible, as far as the lexicon knows."""
    return token.meaning is not None and not (token.is_style or token.is_of(Sort.NOTHING) or _is_manner(token))


def _makes_one(token: Token, after: Sequence[Token], language: Language) -> bool:
    """Whether の joins a noun to one whose kind it names: a panda's costume, a cherry's tree; not a park's tree."""
    is_place = token.is_of(Sort.SCENE, Sort.SURFACE, Sort.PERSON, Sort.NOTHING)
    return bool(after) and after[0].role is Role.NOUN and after[0].text in language.kinds and not is_place


def _is_one_word(left: Token, right: Token, language: Language) -> bool:
    """Whether two nouns make up one of the lexicon: 우주 비행사."""
    return language.noun(f"{left.text}{language.blank}{right.text}") is not None


def _is_pair(tokens: Sequence[Token], i: int) -> bool:
    """Whether two looks at i are joined before a noun."""
    if i + 3 >= len(tokens) or tokens[i + 1].text not in ("と", "과", "와"):
        return False
    is_linked = tokens[i + 3].role in (Role.LINK, Role.NOUN)
    return _is_look(tokens[i]) and _is_look(tokens[i + 2]) and is_linked


def _describes(token: Token) -> bool:
    return token.meaning is not None and token.meaning.sort.describes


def _counts_next(tokens: Sequence[Token], i: int) -> bool:
    after = [token.role for token in tokens[i + 1 : i + 4]]
    return after[:1] == [Role.NOUN] or after[:2] in ([Role.LINK, Role.NOUN], [Role.COUNTER, Role.LINK])


def _after(tokens: Sequence[Token], i: int) -> Role | None:
    """The role that what follows gives a phrase: PLACE, NONE, LIKE, or None."""
    i = _behind_missing(tokens, _behind_list(tokens, i))
    roles = [token.role for token in tokens[i : i + 5]] + [Role.END]
    if roles[0] is Role.LIKE or roles[:2] == [Role.LINK, Role.LIKE]:
        return Role.LIKE
    k = 0
    while roles[k] in (Role.PARTICLE, Role.PLACE, Role.LINK, Role.BE) and k < 4:
        k += 1
    if roles[k] is Role.NONE:
        return Role.NONE
    is_side = roles[0] is Role.SIDE or roles[:2] == [Role.LINK, Role.SIDE]
    return Role.PLACE if is_side or roles[0] is Role.PLACE else None


def _behind_list(tokens: Sequence[Token], i: int) -> int:
    """Where a list with "too" after each thing goes on after its last: 人も車もいない, 사람도 차도 없는."""
    while i + 2 < len(tokens) and tokens[i].text in _TOO and tokens[i + 1].role is Role.NOUN:
        if tokens[i + 2].text not in _TOO:
            break
        i += 2
    return i


def _behind_missing(tokens: Sequence[Token], i: int) -> int:
    """Where a list of what is not there goes on after its last: 人物や建物はなし, 사람과 건물 없음."""
    end = i
    while end + 1 < len(tokens) and tokens[end].text in _WITH and tokens[end + 1].role is Role.NOUN:
        end += 2
    rest = [token.role for token in tokens[end : end + 3] if token.role is not Role.PARTICLE]
    return end if end > i and rest[:1] == [Role.NONE] else i


_TOO = ("も", "도")
_WITH = ("と", "や", "과", "와", "이나", "나")


def of_material(tokens: Sequence[Token], made: frozenset[str], link: str) -> list[Token]:
    """The words with the material of a thing as its description: ガラスでできた城, 유리로 만든 성.

    `made` are the verbs for "made", `link` stands between a material and its thing.
    """
    kept: list[Token] = []
    i = 0
    while i < len(tokens):
        verb = i + 1 + (i + 1 < len(tokens) and tokens[i + 1].text in _OUT_OF)  # 나무로 has its own
        is_made = tokens[i].role is Role.NOUN and verb < len(tokens) and tokens[verb].text in made
        end = verb + 1
        while end < len(tokens) and tokens[end].role in (Role.VERB, Role.BE):
            end += 1
        is_before_thing = end < len(tokens) and tokens[end].role in (Role.NOUN, Role.ADJECTIVE)
        if is_made and tokens[i].is_stuff and is_before_thing:
            stuff = tokens[i].text if verb > i + 1 else tokens[i].text.removesuffix("로")
            kept.append(replace(tokens[i], text=f"{stuff}{link}", role=Role.ADJECTIVE))
            i = end
        else:
            kept.append(tokens[i])
            i += 1
    return kept


_OUT_OF = ("で", "から", "로", "으로")


def _said(tokens: Sequence[Token], i: int) -> tuple[tuple[Token, ...], int]:
    """What a sentence says of the noun before i, and where that ends: 車は赤い, 자동차는 빨간색이다."""
    if i + 1 < len(tokens) and tokens[i].role is Role.LINK and tokens[i - 1].is_of(Sort.BODY):
        is_look = tokens[i + 1].role is Role.ADJECTIVE
        return ((tokens[i + 1],), i + 2) if is_look else ((), i)  # 髪の長い
    if not (i + 1 < len(tokens) and tokens[i].role is Role.PARTICLE and _is_look(tokens[i + 1])):
        return (), i
    end = i + 1
    while end < len(tokens) and (_is_look(tokens[end]) or tokens[end].role is Role.ADJECTIVE):
        end += 1
    said = tuple(tokens[i + 1 : end])  # 犬は黒くて大きい
    while end < len(tokens) and tokens[end].role in (Role.BE, Role.PARTICLE, Role.VERB):
        end += 1
    return (said, end) if end == len(tokens) or tokens[end].role is Role.END else ((), i)


def _is_look(token: Token) -> bool:
    return token.role in (Role.ADJECTIVE, Role.NOUN) and _describes(token)


def _entity(phrase: Phrase, language: Language, *, is_place: bool) -> Entity | None:
    """The entity of a phrase: its last noun is the head, unless all of them are one word of the lexicon."""
    *before, last = phrase.nouns
    whole = language.noun(language.blank.join(token.text for token in phrase.nouns))
    described = [token for token in phrase.described if not token.is_style]
    if whole is not None:
        head = Said("".join(token.text for token in phrase.nouns), whole)
    else:
        head = Said(last.text, last.noun)
        described += before
    text = language.blank.join(
        token.text for token in (*(t for t in phrase.described if not t.is_style), *phrase.nouns)
    )
    return entity(head, text, [token.said for token in described], counts=phrase.counts, is_place=is_place)
