"""Chinese prompts become entities, by jieba's dictionary and tags.

    "一只橘猫在窗台上睡觉，没有人，电影感"  →  橘猫 (object) · 窗台 (scene);   excluded: 人;   style: 电影感

The same rule as in English: a run of describing words and nouns that ends in a noun; 的 joins and is dropped. Words
before 上, 里, 中, 下 ... and after 在, names of places and times are scenes.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from worker.cache.decisions import salience
from worker.cache.decisions.types import Entity, EntityKind
from worker.cache.decisions.vocabulary import word_set

_NOUN = ("n", "nr", "nrt", "nrfg", "ns", "nt", "nz", "ng", "s", "t", "vn", "an", "eng", "l", "i", "j")
_DESCRIBES = ("a", "ad", "b", "z", "ag", "m")
_HAS_CHINESE = re.compile("[\u3400-\u9fff]")


_COLOURS = {
    **dict.fromkeys(("红", "红色", "赤色", "大红", "鲜红", "深红"), "红色"),
    **dict.fromkeys(("蓝", "蓝色", "天蓝", "深蓝", "天蓝色"), "蓝色"),
    **dict.fromkeys(("绿", "绿色", "翠绿", "墨绿"), "绿色"),
    **dict.fromkeys(("黄", "黄色", "金黄", "金色", "金黄色"), "黄色"),
    **dict.fromkeys(("黑", "黑色", "漆黑"), "黑色"),
    **dict.fromkeys(("白", "白色", "雪白", "洁白"), "白色"),
    **dict.fromkeys(("橙", "橙色", "橘", "橘色", "橘黄色"), "橙色"),
    **dict.fromkeys(("紫", "紫色"), "紫色"),
    **dict.fromkeys(("粉", "粉色", "粉红", "粉红色"), "粉色"),
    **dict.fromkeys(("灰", "灰色"), "灰色"),
    **dict.fromkeys(("棕", "棕色", "褐色", "咖啡色"), "棕色"),
    **dict.fromkeys(("银", "银色"), "银色"),
}
_SIZES = word_set("大 小 巨大 巨型 大型 小型 微小 迷你 高大 小小")
_OTHER_ADJECTIVES = word_set(
    "老 旧 新 年轻 古老 现代 古代 未来 美丽 可爱 漂亮 雪白 木 木制 金属 石头 破旧 豪华 安静 热闹 繁忙"
)
_ADJECTIVES = frozenset(_COLOURS) | _SIZES | _OTHER_ADJECTIVES
_PLACE_AFTER = word_set(
    "上 里 中 下 旁 边 前 后 内 外 间 上面 下面 里面 外面 旁边 前面 后面 之间 中间 之上 之下 之中 上空 附近 深处 尽头"
)
_PLACE_BEFORE = word_set("在 于 从 到 往 向 穿过 沿着 沿 越过 经过 走进 进入 走在")
_SCENES = word_set(
    "城市 街道 街头 森林 树林 海滩 沙滩 海边 海洋 大海 海底 天空 夜空 草原 草地 沙漠 雪地 山 山脉 高山 雪山 山谷 "
    "山坡 湖 湖边 湖面 河 河边 江边 公园 花园 庭院 院子 田野 麦田 稻田 村庄 乡村 小镇 房间 客厅 卧室 厨房 教室 学校 "
    "办公室 图书馆 博物馆 餐厅 咖啡馆 咖啡厅 酒吧 商店 市场 超市 医院 车站 地铁站 机场 码头 港口 广场 舞台 体育场 "
    "寺庙 宫殿 城堡 洞穴 太空 宇宙 星空 月球 火星 夜晚 晚上 夜 黄昏 日落 日出 清晨 早晨 傍晚 黎明 中午 午后 冬天 "
    "夏天 秋天 春天 冬季 夏季 秋季 春季 雨 雨中 雪 雨天 雪天 雾 暴风雨 阳光 月光 背景 地面 屋顶 阳台 走廊 小巷 巷子 "
    "公路 高速公路 马路 乡间 竹林 丛林 热带雨林 瀑布 悬崖 峡谷 战场 废墟 窗台 北京 上海 东京 巴黎 纽约 长城 故宫 "
    "西湖"
)
_STYLE = word_set(
    "电影感 电影 电影级 电影般 写实 逼真 真实感 超写实 动漫 动画 卡通 漫画 水彩 水彩画 油画 水墨 水墨画 素描 国画 "
    "插画 赛博朋克风 特写 近景 远景 中景 全景 航拍 俯拍 仰拍 俯视 慢动作 慢镜头 延时 延时摄影 镜头 画面 画质 高清 "
    "超高清 高画质 风格 光影 构图 景深 虚化 渲染 质感 色调 氛围 视频 照片 摄影 拍摄 视角 像素 分辨率 细节 高质量 "
    "杰作 广角 微距 手持 跟拍 黑白 复古风 宫崎骏 皮克斯 4k 8k 2k hd 3d 2d cg 1080p imax"
)
_STYLE_ENDS = ("风格", "镜头", "画质", "画风", "感", "视角", "摄影")
_NOTHING = word_set(
    "个 一个 东西 时候 样子 方向 部分 瞬间 过程 时间 整个 旁边 中央 中间 周围 左边 右边 前方 后方 远处 近处 四周 "
    "一起 人们的 全身 人像"
)
_NEGATIONS = word_set("没有 没 无 不要 别 不含 不包含 不是 除了 避免 禁止 毫无")
_STOPS = word_set("， 。 ！ ？ ； ： 、 , . ! ? ; : \n | ( ) （ ） 和 与 及 跟 而 但 但是")
_COUNTS = word_set("两 二 三 四 五 六 七 八 九 十 几")
_LISTS = word_set("、 和 或 或者 与 及")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a Chinese text names."""

    entities: tuple[Entity, ...]
    excluded: tuple[Entity, ...] = ()
    style: tuple[str, ...] = ()


@cache
def _tagger() -> Any:  # Any: jieba has no types
    """jieba's tagger with its dictionary: 1 s, wanted only where Chinese is read."""
    with warnings.catch_warnings():  # it asks for pkg_resources and has odd escapes in its patterns
        warnings.simplefilter("ignore")
        import logging

        import jieba
        import jieba.posseg

        jieba.setLogLevel(logging.WARNING)
        for word in sorted(_SCENES | _STYLE | frozenset(_COLOURS)):
            if _HAS_CHINESE.search(word) and len(word) > 1:
                jieba.add_word(word, tag="n" if word in _SCENES | _STYLE else "a")
        return jieba.posseg.POSTokenizer(jieba.dt)


def read(text: str) -> Reading:
    """The entities, the excluded entities and the style of a Chinese text."""
    cut = [(word.strip().lower(), flag) for word, flag in _tagger().cut(text) if word.strip()]
    words = [part for word, flag in cut for part in _without_place(word, flag)]
    seen: dict[str, Entity] = {}
    excluded: dict[str, Entity] = {}
    style: dict[str, None] = {}
    i = 0
    while i < len(words):
        word, _ = words[i]
        if word in _NEGATIONS:
            i = _exclude(words, i + 1, excluded)
            continue
        stop = _phrase_end(words, i)
        if stop == i:
            i += 1
            continue
        run = words[i:stop]
        if _is_style(run):
            style["".join(part for part, _ in run)] = None
        elif (entity := _entity(words, i, stop)) is not None:
            seen.setdefault(entity.text, entity)
        i = stop
    return Reading(entities=tuple(seen.values()), excluded=tuple(excluded.values()), style=tuple(style))


def _without_place(word: str, flag: str) -> list[tuple[str, str]]:
    """窗台上 (on the sill) as 窗台 and 上, where the dictionary has the first."""
    if len(word) > 2 and word[-1] in _PLACE_AFTER and (word[:-1] in _SCENES or _tagger().word_tag_tab.get(word[:-1])):
        return [(word[:-1], "n"), (word[-1], "f")]
    return [(word, flag)]


Words = Sequence[tuple[str, str]]


def _exclude(words: Words, i: int, excluded: dict[str, Entity]) -> int:
    """Takes the things of a negation; returns where it ends."""
    while i < len(words):
        while i < len(words) and words[i][0] in ("任何", "出现", "有", "其他", "一个", "包含"):
            i += 1
        stop = _phrase_end(words, i)
        if stop == i:
            return i
        stop = next((k for k in range(i + 1, stop) if words[k][0] == "的" and _is_noun(*words[k - 1])), stop)
        entity = _entity(words, i, stop)
        if entity is not None:
            excluded.setdefault(entity.text, entity)
        i = stop
        if not (i < len(words) and words[i][0] in _LISTS):
            return i
        i += 1
    return i


def _phrase_end(words: Words, i: int) -> int:
    """Where the phrase that begins at i ends, after its last noun; i itself if there is none."""
    end = last = i
    while end < len(words):
        word, flag = words[end]
        if word in _STOPS or (word in _PLACE_AFTER and flag in ("f", "n", "v", "s")) or word in _PLACE_BEFORE:
            break
        if _is_noun(word, flag):
            last = end + 1
        elif word == "的" or flag in ("uj", "q"):
            if last == end and not (end + 1 < len(words) and _may_follow(words[end + 1])):
                break
        elif not (flag in _DESCRIBES or word in _ADJECTIVES) or last == end > i:
            break
        end += 1
    return last


def _may_follow(word: tuple[str, str]) -> bool:
    return _is_noun(*word) or word[1] in _DESCRIBES or word[0] in _ADJECTIVES


def _is_noun(word: str, flag: str) -> bool:
    return (flag in _NOUN and word not in _ADJECTIVES and word not in _NOTHING) or word in _SCENES or word in _STYLE


def _is_style(run: Words) -> bool:
    text = run[-1][0]
    return text in _STYLE or text.endswith(_STYLE_ENDS) or all(part in _STYLE for part, _ in run)


def _entity(words: Words, start: int, stop: int) -> Entity | None:
    run = [(word, flag) for word, flag in words[start:stop] if word != "的" and flag not in ("uj", "q", "m")]
    counts = [word[0] for word, flag in words[start:stop] if flag == "m" and word[0] in _COUNTS]
    if not run or all(word in _NOTHING for word, _ in run):
        return None
    head = run[-1][0]
    described = [word for word, _ in run[:-1]]
    if len(head) > 1 and not described and head[0] in _COLOURS and head not in _SCENES:
        described = []  # 橘猫 is one word; its colour counts all the same
        colours = [_COLOURS[head[0]]]
    else:
        colours = [_COLOURS[word] for word in described if word in _COLOURS]
    attributes = dict.fromkeys((*counts, *(word for word in described if word not in _COLOURS), *colours))
    return Entity(
        text="".join(word for word, _ in run),
        head=head,
        attributes=tuple(attributes),
        kind=_kind(words, start, stop, head, run[-1][1]),
        weight=salience.weight(head, tuple(attributes)),
    )


def _kind(words: Words, start: int, stop: int, head: str, flag: str) -> EntityKind:
    after = words[stop][0] if stop < len(words) else ""
    before = words[start - 1][0] if start else ""
    is_place = head in _SCENES or flag in ("ns", "s", "t") or head.endswith(("城", "街", "路", "林", "海", "湖", "山"))
    is_inside = after in _PLACE_AFTER and before in _PLACE_BEFORE
    return EntityKind.SCENE if is_place or is_inside else EntityKind.OBJECT
