"""Korean words with their roles: particles are split off the end of words, endings identify descriptions and verbs.

    "빨간 고양이가 창가에서 자고 있다"  →  빨간 고양이 (object) · 창가 (scene)

No dictionary: the particles are few, and which one may follow a word depends on its last sound.
"""

import re
from dataclasses import replace
from functools import lru_cache

from worker.prompts.english import style_words
from worker.prompts.memory import MOST_REMEMBERED
from worker.prompts.readers import postpositions as p
from worker.prompts.readers.lexicon import Meaning, Sort, meanings, nouns
from worker.prompts.readers.postpositions import Role, Token
from worker.prompts.readers.reading import Reading
from worker.prompts.vocabulary.groups import NATURES
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_WORDS

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_NAMED = STYLE_WORDS | style_words.TOOLS
_FIRST_SYLLABLE, _FINALS = 0xAC00, 28  # of Unicode's syllables; final sounds of each
_FINAL_L, _FINAL_N = 8, 4

_PLACE, _LINK, _LIKE, _OTHER = Role.PLACE, Role.LINK, Role.LIKE, Role.PARTICLE
# particles, longest first: their role, and whether they follow a final consonant, a vowel, or either
_PARTICLES: tuple[tuple[str, Role, bool | None], ...] = (
    *(("에서는", _PLACE, None), ("에서의", _PLACE, None), ("에서", _PLACE, None), ("에는", _PLACE, None)),
    *(("에게", _OTHER, None), ("으로", _OTHER, True), ("로", _OTHER, False), ("처럼", _LIKE, None)),
    *(("같은", _LIKE, None), ("같이", _LIKE, None), ("까지", _OTHER, None), ("부터", _OTHER, None)),
    *(("이랑", _OTHER, True), ("랑", _OTHER, False), ("하고", _OTHER, None), ("에", _PLACE, None), ("의", _LINK, None)),
    *(("은", _OTHER, True), ("는", _OTHER, False), ("이", _OTHER, True), ("가", _OTHER, False), ("을", _OTHER, True)),
    *(("를", _OTHER, False), ("과", _OTHER, True), ("와", _OTHER, False), ("도", _OTHER, None), ("만", _OTHER, None)),
    *(("이다", _OTHER, True), ("다", _OTHER, False), ("입니다", _OTHER, None), ("들", _OTHER, None)),
    *(
        ("들이", _OTHER, None),
        ("들은", _OTHER, None),
        ("들을", _OTHER, None),
        ("들의", _LINK, None),
        ("들과", _OTHER, None),
    ),
)
_BY_LENGTH = sorted(_PARTICLES, key=lambda row: -len(row[0]))
_NONE = word_set("없는 없이 없다 없음 아닌 없고 없습니다 제외 제외한 없어야 않는 않고 안보이는 말고")
_NOT_DONE = ("않", "못", "마", "말")  # after a verb in 지: 쓰지 않은
_SHOWN = word_set("있지 보이지 나오지 나타나지 들어가지 등장하지 보여주지")  # what does not do these is not seen
_NOBODY = word_set("아무도 무인")
_LIKE_WORDS = word_set("같은 같이 처럼 닮은")
_SIDES = word_set("위 안 아래 앞 뒤 옆 속 중앙 가운데 사이 주변 밑 곁 너머 근처 한가운데 밖")
_COUNTERS = word_set("마리 명 대 개 송이 그루 권 잔 척 채 쌍 조각 장 벌 마리의 명의")
_ACTIONS = word_set(
    "온 가진 지닌 텅 입은 쓴 든 탄 앉은 선 누운 놓인 덮인 쌓인 위치한 향한 걸린 매달린 둘러싸인 가득한 핀 그린 만든 "
    "찍은 내린 담긴 "
    "본 "
    "보이는 생긴 있는 하는 되는 서 앉아 누워 타고 들고 입고 쓰고 떠 날아 걸어 뛰어 달려 보여줘 만들어줘 만들어 그려줘 "
    "생성해줘 함께 천천히 빠르게 조용히 혼자 서로 매우 아주 그리고 또는 및 한 그 이 저 모든 위한 대한 통해 따라 향해"
) - {"한"}
_DESCRIPTIONS = word_set(
    "젖은 높은 깊은 얕은 맑은 좁은 넓은 낮은 짧은 굵은 좋은 긴 예쁜 귀여운 빠른 느린 푸른 무서운 차가운 뜨거운 "
    "따뜻한 시원한 달콤한 맛있는 멋진 녹슨 낡은 강한 약한 어린 슬픈 기쁜 하늘색 무지개색 둥근 이상한 신비한 신비로운 "
    "아름다운 화려한 우아한 살찐 털복숭이 반짝이는 빛나는 날아다니는 잠든 외로운 중세 마법 눈덮인"
)
_DESCRIBING_ENDS = ("한", "운", "된", "진", "로운", "스러운", "적인", "쁜", "른", "색", "빛", "인")
_COSTUMES = word_set("의상 복장 코스튬 분장 인형 인형탈 탈 인형옷 옷")
_VERB_ENDS = (
    *("다", "고", "며", "면서", "어서", "아서", "려고", "는데", "지만", "게", "히", "요", "는", "려", "도록", "듯"),
    *("어", "아", "여", "해", "줘"),
)
_NOUNS = word_set(
    "창고 냉장고 바다 소년 소녀 판다 사다 캐나다 파도 지도 강아지 돼지 여자 아기 무지개 번개 조개 베개 날개 안개 지게 "
    "가게 종이 고양이 어린이 호랑이 원숭이 거북이 나이 길이 높이 마을 가을 노을 저녁노을 거울 얼음 구름 사람 바람 "
    "피아노 기타 라디오 카메라 오토바이 자동차 포도 온도 고래 노래 모래 국가 작가 화가 창가 바닷가 은하 은하수 도로 "
    "피로 미로 난로 신호등 가로등 축제 무대 연기 화산 우산 마차 분수 폭포 탁자 왕자 의자 상자 모자 그림자 사자 남자 "
    "아이 오이 주전자 배우 여우 새우 거인 시인 군인 노인 여인 주인 연인 외계인 눈사람 북극곰 은행 은색 낙타 악어 상어 "
    "문어 인어 연어 고등어 과일 도마뱀 로봇 용암 화로 언어 열쇠 나비"
)


def read(text: str) -> Reading:
    """The entities, the excluded entities and the style of a Korean text."""
    return p.read(tag(text), _LANGUAGE)


def tag(text: str) -> list[Token]:
    """The words of a text with their roles, each particle as a word of its own."""
    tokens: list[Token] = []
    for word in _TOKEN.findall(text):
        for token in _tokens(word.lower()):
            counts = bool(tokens) and tokens[-1].role is Role.NUMBER
            is_thing = token.role is Role.COUNTER and not counts and token.meaning is not None
            tokens.append(replace(token, role=Role.NOUN) if is_thing else token)  # 개: a dog, unless two are counted
    return p.of_material(_covered(_denied(tokens)), _MADE, "")


def _covered(tokens: list[Token]) -> list[Token]:
    """The words with what covers a thing as its description, if no particle separates them: 눈 덮인 산."""
    kept: list[Token] = []
    for i, token in enumerate(tokens):
        after = tokens[i + 1].role if i + 1 < len(tokens) else Role.END
        is_said = bool(kept) and kept[-1].role is Role.NOUN and after in (Role.NOUN, Role.ADJECTIVE)
        if is_said and token.text in _COVERED:
            kept[-1] = Token(f"{kept[-1].text} {token.text}", Role.ADJECTIVE)
        else:
            kept.append(token)
    return kept


_COVERED = word_set("덮인 덮힌 뒤덮인 쌓인 낀 핀 맺힌 내린 가득한 우거진")
_MADE = word_set("만든 만들어진 지은 지어진 조각한 조각된 된")


def _denied(tokens: list[Token]) -> list[Token]:
    """The words with what is not done to a thing as its absence: 모자를 쓰지 않은 남자; not 고양이가 자지 않는다."""
    for verb, word in zip(range(1, len(tokens)), tokens[2:], strict=False):
        if tokens[verb].text.endswith("지") and word.text.startswith(_NOT_DONE):
            is_absent = tokens[verb - 1].text in ("을", "를") or tokens[verb].text in _SHOWN
            tokens[verb].role, word.role = (Role.BE, Role.NONE) if is_absent else (Role.VERB, Role.VERB)
    return tokens


@lru_cache(maxsize=MOST_REMEMBERED)
def _tokens(word: str) -> tuple[Token, ...]:
    if not word[0].isalnum():
        return (Token(word, Role.END),)
    role = _whole(word)
    if role is not None:
        return (_token(word, role),)
    if word[-1] in _SIDES and _whole(word[:-1]) is Role.NOUN:
        return (_token(word[:-1], Role.NOUN), Token(word[-1], Role.SIDE))  # 숲속
    stem, particle = _split(word)
    if particle is None:
        return (_token(word, _open(word)),)
    if _whole(stem) is Role.VERB:
        return (_token(word, Role.VERB),)
    if _whole(stem) is None and not (stem[-1] in _SIDES and _whole(stem[:-1]) is Role.NOUN):
        return (_token(stem, Role.NOUN), Token(word[len(stem) :], particle))
    return (*_tokens(stem), Token(word[len(stem) :], particle))


def _token(text: str, role: Role) -> Token:
    meaning = meanings("ko").get(text) or (_place(text) if role is Role.NOUN else None)
    is_style = text in _NAMED or _is_manner(text) if meaning is None else meaning.sort is Sort.STYLE
    return Token(text, role, meaning, nouns("ko").get(text, meaning), is_style=is_style)


def _place(text: str) -> Meaning | None:
    """The meaning of a compound that the lexicon lacks and that ends in a place: 야시장, 자작나무숲."""
    for start in range(1, len(text) - 1):
        found = meanings("ko").get(text[start:])
        if found is not None and found.sort is Sort.SCENE:
            return Meaning(text, Sort.SCENE)
    is_compound = len(text) > _SHORTEST_MANNER - 1 and text.endswith(_PLACE_ENDS) and text not in _NO_PLACES
    return Meaning(text, Sort.SCENE) if is_compound else None


_PLACE_ENDS = ("길", "숲", "역", "궁", "섬", "산", "강", "도시", "마을", "대교")
_NO_PLACES = word_set("낙하산 부동산 손길 발길")


def _is_manner(text: str) -> bool:
    """Whether a word names a manner: 만화풍, but not 태풍, a storm."""
    return len(text) >= _SHORTEST_MANNER and text.endswith("풍") and text not in _WINDS


_SHORTEST_MANNER = 3  # syllables
_WINDS = word_set("계절풍 무역풍 편서풍 회오리폭풍 모래폭풍 눈폭풍")


def _whole(word: str) -> Role | None:
    """The role of a word that is listed, None for any other."""
    lists = (
        *((Role.NONE, _NONE), (Role.NOBODY, _NOBODY), (Role.LIKE, _LIKE_WORDS), (Role.SIDE, _SIDES)),
        *((Role.COUNTER, _COUNTERS), (Role.VERB, _ACTIONS), (Role.ADJECTIVE, _DESCRIPTIONS), (Role.NOUN, _NOUNS)),
    )
    meaning = meanings("ko").get(word)
    if meaning is not None and word not in _SIDES | _COUNTERS:
        if meaning.sort is Sort.NUMBER:
            return Role.NUMBER
        is_form = meaning.sort.describes and _final(word) == _FINAL_N
        return Role.ADJECTIVE if is_form else Role.NOUN
    return next((role for role, words in lists if word in words), None)


def _split(word: str) -> tuple[str, Role | None]:
    """A word without its particle, and what the particle does; None if it has none."""
    for particle, role, after_consonant in _BY_LENGTH:
        stem = word.removesuffix(particle)
        if stem == word or not stem:
            continue
        is_known = _whole(stem) in (Role.NOUN, Role.NUMBER, Role.SIDE, Role.COUNTER)
        fits = (
            after_consonant is None
            or bool(_final(stem)) is after_consonant
            or (particle == "로" and _final(stem) == _FINAL_L)
        )
        is_short = len(stem) == 1 and particle not in ("을", "를")
        if particle in ("다", "이다", "하고", "도", "만", "들") or is_short or word.endswith(_DESCRIBING_ENDS):
            fits = fits and is_known
        if fits and (is_known or not _is_attribute(word)):
            return stem, role
    return word, None


def _is_attribute(word: str) -> bool:
    """Whether a word in 는 or 은 is a verb that describes: 달리는, 날아다니는."""
    return word.endswith("는") and (
        word[:-1].endswith(
            (
                "리",
                "하",
                "있",
                "되",
                "이",
                "니",
                "기",
                "치",
                "드",
                "아",
                "추",
                "우",
                "르",
                "누",
                "꾸",
                "쓰",
                "으",
                "너",
                "켜",
                "노",
                "걷",
                "웃",
                "먹",
                "짓",
                "듣",
            )
        )
    )


def _open(word: str) -> Role:
    """The role of a word without a particle, by its ending."""
    if word.isascii() and word.isdigit():
        return Role.NUMBER
    if len(word) > 1 and word.endswith(_DESCRIBING_ENDS):
        return Role.ADJECTIVE
    if len(word) > _SHORTEST_MANNER and word[: len(word) // 2] == word[len(word) // 2 :]:
        return Role.VERB  # 모락모락: how something goes on
    if any((meaning := meanings("ko").get(word[i:])) and meaning.is_object for i in range(1, len(word) - 1)):
        return Role.NOUN  # 비단잉어
    return Role.VERB if len(word) > 1 and word.endswith(_VERB_ENDS) else Role.NOUN


def _final(word: str) -> int:
    """The number of the last sound of a word: 0 for a vowel."""
    code = ord(word[-1]) - _FIRST_SYLLABLE
    return code % _FINALS if 0 <= code < 11_172 else 0


def _noun(text: str) -> Meaning | None:
    return nouns("ko").get(text)


_LANGUAGE = p.Language(
    blank=" ",
    joins=lambda left, right: (
        left.said.english in NATURES  # 로봇 강아지, a robot dog
        or right.text in _COSTUMES  # 공룡 의상, a dinosaur costume
        or not left.is_of(Sort.SCENE, Sort.PERSON, Sort.ANIMATE, Sort.SURFACE, Sort.NOTHING)
    ),
    noun=_noun,
)
