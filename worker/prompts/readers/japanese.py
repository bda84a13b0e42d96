"""Japanese words with their roles, by janome's dictionary.

"古い木のテーブルの上に置かれた二つの白いカップ"  →  古い木テーブル (scene) · 白いカップ (object)
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from worker.prompts.english import style_words
from worker.prompts.readers import postpositions as p
from worker.prompts.readers.lexicon import Meaning, Sort, meanings, nouns
from worker.prompts.readers.postpositions import Role, Token
from worker.prompts.readers.reading import Reading
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_WORDS

_NAMED = STYLE_WORDS | style_words.TOOLS
_PLACE = word_set("で に へ にて において")
_BE = word_set("映す 見せる 写す 入れる いる ある 含む 見える 写る 映る 入る おる 出る 使う 着る かぶる 持つ")
_NONE = word_set("ない なし 無し ぬ ず ん 抜き 無い")
_NOBODY = word_set("無人 人気のない 誰")
_LIKE = word_set("よう みたい")
_DISGUISES = word_set("格好 恰好 コスプレ")  # after what somebody only looks like
_SIDES = word_set("上 中 下 前 後ろ 横 隣 そば 間 周り 奥 側 うえ なか 真ん中 中心 外 上空 頭上 眼下")
_MOVES = word_set(  # verbs whose を marks the place they lead through: 砂丘を歩く
    "歩く 歩む 走る 飛ぶ 泳ぐ 進む 渡る 抜ける 通る 駆ける 駆け抜ける 走り抜ける 旅する 漂う 登る 上る 下る "
    "降りる 横切る 滑る "
    "流れる さまよう 舞う 巡る 行く 行き交う 飛び回る 泳ぎ回る 散歩 散策 疾走 走行 飛行 航行 移動 横断 通過 浮遊 "
    "滑走 旅"
)
_WEATHER_ENDS = tuple("霧雨雪夜空")
_PLACE_ENDS = (
    *"林海山川湖街町城寺駅橋島園場館店原谷村室港丘洞峠滝畑田庭宮",
    *_WEATHER_ENDS,
)  # of compounds: 杉林, 朝霧
_POINTERS = word_set("この その あの どの ある とある 同じ 我が")  # say which one it is, not what it is like
_STYLE_ENDS = word_set("風 調 風味 タッチ 感 的")
_LONGEST = 6  # janome's words that may make up one word of the lexicon


@cache
def _tokenizer() -> Any:  # Any: janome has no types
    """janome with its dictionary, mapped into memory: takes 0.5 s, needed only where Japanese is read."""
    from janome.tokenizer import Tokenizer

    return Tokenizer(mmap=True)


def read(text: str) -> Reading:
    """The entities, the excluded entities and the style of a Japanese text."""
    return p.read(tag(text), _LANGUAGE)


def tag(text: str) -> list[Token]:
    """The words of a text with their roles."""
    tokens: list[Token] = []
    for part in _PART.findall(text.lower()):
        tokens += _latin(part) if _LATIN.fullmatch(part) else _cut(part)
    tokens = _described_by_past(_without_counters(_coloured(tokens)))
    return p.of_material(_described_by_verbs(tokens), _MADE, "の")


def _coloured(tokens: Sequence[Token]) -> list[Token]:
    """The words with a colour that the lexicon lacks as a description: 紺色の着物, ベージュ色のコート."""
    kept: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        is_linked = i + 1 < len(tokens) and tokens[i + 1].role is Role.LINK
        is_colour = token.text.endswith("色") and token.text not in _NO_COLOURS and token.meaning is None
        shade = kept[-1] if kept and token.text == "色" else None
        i += 1
        if not (is_colour and is_linked and (shade is None or shade.role in (Role.NOUN, Role.ADJECTIVE))):
            kept.append(token)
            continue
        i += 1  # its の
        if shade is None:
            kept.append(replace(token, text=f"{token.text}の", role=Role.ADJECTIVE))
        elif shade.role is Role.NOUN:
            kept[-1] = replace(shade, text=f"{shade.text}色の", role=Role.ADJECTIVE)
    return kept


_NO_COLOURS = word_set("景色 特色 音色 顔色 異色")


def _without_counters(tokens: Sequence[Token]) -> list[Token]:
    """The words with numerals that count nothing as part of their noun (三毛猫), and without 名前 after a name."""
    kept: list[Token] = []
    for i, token in enumerate(tokens):
        before = kept[-1] if kept else None
        if before and before.role is Role.NUMBER and before.text in _NUMERALS and token.role is Role.NOUN:
            kept[-1] = replace(token, text=f"{before.text}{token.text}", meaning=None, noun=None)
            continue
        if token.text == "風" and (before is None or before.role is not Role.NOUN):
            token = replace(token, meaning=None, noun=None, is_style=False)  # the wind, but 印象派風
        if before and before.role is Role.NUMBER and token.text in _COUNTERS:
            token = replace(token, role=Role.COUNTER)  # 椅子が二脚
        if token.text == "名前" and i and tokens[i - 1].text in ("という", "って"):
            token.role = Role.VERB  # ポチという名前の犬
        kept.append(token)
    return kept


_NUMERALS = frozenset("一二三四五六七八九十百千万")
_LATIN = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_PART = re.compile(r"[a-z0-9][a-z0-9.+-]*|[^a-z0-9]+")
_KATAKANA = re.compile(r"[\u30a1-\u30fa\u30fc]+")


def _latin(word: str) -> list[Token]:
    """A word in Latin letters or a number."""
    return [Token(word, Role.NUMBER if word.isdigit() else Role.NOUN, is_style=word in _NAMED)]


def _cut(text: str) -> list[Token]:
    cut = [word for word in _tokenizer().tokenize(text) if word.surface.strip()]
    tokens: list[Token] = []
    i = 0
    while i < len(cut):
        length = _known_length(cut, i)
        after = cut[i + length] if i + length < len(cut) else None
        whole = "".join(word.surface for word in cut[i : i + length])
        first, _, second = whole.partition("の")
        if first and second and whole not in meanings("ja"):  # a name in the dictionary: 木の下
            tokens += [*_cut(first), Token("の", Role.LINK), *_cut(second)]
        else:
            token = _token(whole, cut[i + length - 1], after, is_one=length == 1)
            behind = [word.base_form for word in cut[i + length : i + length + 2]]
            if behind == ["を", "する"] and token.meaning is None and "サ変" in cut[i].part_of_speech:
                token.role = Role.VERB  # 会議をする
            tokens.append(token)
        i += length
    return tokens


def _known_length(cut: Sequence[Any], i: int) -> int:
    """How many words at i make up one word of the lexicon: 宇宙 + 飛行 + 士."""
    known = meanings("ja")
    for length in range(min(_LONGEST, len(cut) - i), 1, -1):
        text = "".join(word.surface for word in cut[i : i + length])
        if text in known and not text.endswith(("の", "な")):
            return length
    length = 1
    while i + length < len(cut) and all(_KATAKANA.fullmatch(cut[k].surface) for k in (i, i + length)):
        length += 1  # a foreign word that the dictionary lacks
    return length


def _token(text: str, word: Any, after: Any, *, is_one: bool) -> Token:
    part, detail, *_ = word.part_of_speech.split(",")
    lower = text.lower()
    base = word.base_form if is_one else text
    meaning = meanings("ja").get(lower) or meanings("ja").get(base)
    is_style = lower in _NAMED if meaning is None else meaning.sort is Sort.STYLE
    role = _role(text, part, detail, base, after) if is_one else Role.NOUN
    if meaning is None and role is Role.NOUN and is_one and not is_style and _is_place(text, word.part_of_speech):
        place = Meaning(lower, Sort.SCENE)
        return Token(lower, role, place, place)
    if meaning is not None and meaning.sort is Sort.NUMBER:
        role = Role.NUMBER
    if role is Role.NOUN and meaning is not None and meaning.sort.describes and text.endswith("い"):
        role = Role.ADJECTIVE
    return Token(lower, role, meaning, nouns("ja").get(lower), is_style=is_style)


def _is_place(text: str, parts_of_speech: str) -> bool:
    """Whether a noun that the lexicon lacks is a place or weather: a name on a map, or a compound that ends in one."""
    if "地域" in parts_of_speech or len(text) == 1 or not text.endswith(_PLACE_ENDS):
        return "地域" in parts_of_speech
    is_surname = "人名" in parts_of_speech and not text.endswith(_WEATHER_ENDS)  # 小林, but 朝霧
    return not is_surname and "サ変" not in parts_of_speech


def _role(text: str, part: str, detail: str, base: str, after: Any) -> Role:
    if text in _NOBODY:
        return Role.NOBODY
    if base in _NONE and part in ("形容詞", "助動詞", "名詞"):
        return Role.NONE
    if (text in _LIKE and detail in ("非自立", "接尾")) or text in _DISGUISES:
        return Role.LIKE
    if part == "記号" or not text[0].isalnum():
        return Role.END
    if part == "助詞":
        is_way = text == "を" and after is not None and after.base_form in _MOVES
        return Role.LINK if text == "の" else Role.PLACE if text in _PLACE or is_way else Role.PARTICLE
    if part == "動詞":
        return Role.BE if base in _BE else Role.VERB
    if part in ("形容詞", "連体詞"):
        return Role.PARTICLE if text in _POINTERS else Role.ADJECTIVE
    return _noun_role(text, detail, after) if part == "名詞" else Role.VERB


def _noun_role(text: str, detail: str, after: Any) -> Role:
    following = after.surface if after is not None else ""
    if text in _SIDES:
        return Role.SIDE
    if detail == "形容動詞語幹" and following in ("な", "の"):
        return Role.ADJECTIVE
    if detail == "サ変接続" and after is not None and after.base_form in ("する", "できる"):
        return Role.VERB
    if text in _MOVES and (after is None or after.part_of_speech.startswith("記号")):
        return Role.VERB  # 道路を疾走、
    if detail == "数":
        return Role.NUMBER
    if detail == "接尾" and text in _PLURALS:
        return Role.PARTICLE
    if detail == "接尾" and text not in _STYLE_ENDS:
        return Role.COUNTER if text in _COUNTERS else Role.NOUN
    return Role.VERB if detail in ("代名詞", "非自立") else Role.NOUN


_PLURALS = word_set("たち 達 ら さん ちゃん 様")
_COUNTERS = word_set(
    "匹 人 台 本 羽 枚 頭 軒 個 つ 冊 杯 隻 機 名 着 輪 脚 束 皿 両 艘 組 粒 滴 体 尾 株 足 膳 棟 張 面"
)


_MADE = word_set("でき 出来 作ら 作っ 造ら 造っ 編ま 編ん 彫ら 彫っ")
_COVERED = ("覆", "囲", "包", "満")


def _described_by_past(tokens: Sequence[Token]) -> list[Token]:
    """The words with a bare past-tense verb right before a noun as its look: 錆びた自転車."""
    kept: list[Token] = []
    for i, token in enumerate(tokens):
        is_alone = len(kept) < 2 or kept[-2].role in (Role.END, Role.LINK, Role.ADJECTIVE)
        is_past = bool(kept) and kept[-1].role is Role.VERB and token.text in ("た", "だ")
        if is_past and is_alone and i + 1 < len(tokens) and tokens[i + 1].role is Role.NOUN:
            kept[-1] = replace(kept[-1], text=f"{kept[-1].text}{token.text}", role=Role.ADJECTIVE)
        elif token.text == "たて" and kept and i + 1 < len(tokens) and tokens[i + 1].role is Role.LINK:
            kept[-1] = replace(kept[-1], text=f"{kept[-1].text}たて", role=Role.ADJECTIVE)  # 焼きたてのパン
        elif not (token.role is Role.LINK and kept and kept[-1].text.endswith("たて")):
            kept.append(token)
    return kept


def _described_by_verbs(tokens: Sequence[Token]) -> list[Token]:
    """Without "な" after a description, and with what a verb says of the next noun: 赤く塗られた車."""
    kept: list[Token] = []
    for i, token in enumerate(tokens):
        if token.role is Role.PLACE and i + 1 < len(tokens) and tokens[i + 1].text.startswith(_COVERED):
            token.role = Role.PARTICLE  # 苔に覆われた
        if token.text == "な" and kept and kept[-1].role is Role.ADJECTIVE:
            kept[-1].text += "な"
            continue
        if token.text == "て" and i and tokens[i - 1].role is Role.ADJECTIVE:
            continue
        if token.role is Role.ADJECTIVE and token.text.endswith("く") and tokens[i + 1 : i + 2]:
            if tokens[i + 1].text == "て":
                kept.append(replace(token, text=f"{token.text[:-1]}い"))  # 黒くて大きい犬
                continue
            end = i + 1
            while end < len(tokens) and tokens[end].role in (Role.VERB, Role.BE):
                end += 1
            is_colour = token.is_of(Sort.COLOUR) and end > i + 1 and end < len(tokens)
            if not (is_colour and tokens[end].role is Role.NOUN):
                token.role = Role.VERB
            else:
                token.text = f"{token.text[:-1]}い"
                for verb in tokens[i + 1 : end]:
                    verb.text = ""
        if token.text:
            kept.append(token)
    return kept


_LANGUAGE = p.Language(
    blank="",
    joins=lambda left, right: not (left.is_of(Sort.SCENE) and right.is_of(Sort.SCENE, Sort.PERSON, Sort.ANIMATE)),
    noun=lambda text: nouns("ja").get(text),
    kinds=word_set("着ぐるみ ぬいぐるみ コスチューム 衣装 仮装 木 花 葉 実"),
)
