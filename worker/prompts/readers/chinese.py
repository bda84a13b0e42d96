"""Chinese prompts become entities, by jieba's dictionary and tags.

    "一只橘猫在窗台上睡觉，没有人，电影感"  →  橘猫 (object) · 窗台 (scene);   excluded: 人;   style: 电影感

The same rule as in English: a run of describing words and nouns that ends in a noun. 的 after a description is
dropped ("红色的猫"), after a noun it ends the run ("公园的长椅": a park, a bench). What is said after a noun joins
it ("车是红色的"), comparisons are skipped ("像狮子一样"). Nouns before 上, 里, 中, 下 ... and after 在, names of
places and times are scenes.
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from worker.prompts import salience
from worker.prompts.readers.reading import Found, Reading
from worker.prompts.types import Entity, EntityKind
from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_WORDS

_NOUN = ("n", "nr", "nrt", "nrfg", "ns", "nt", "nz", "ng", "s", "t", "vn", "an", "eng", "l", "i", "j")
_DESCRIBES = ("a", "ad", "b", "z", "ag", "m")
_HAS_CHINESE = re.compile("[\u3400-\u9fff]")
_LETTERS = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
_LABEL = re.compile(
    r"(?:^|(?<=[。\n,;]))\s*(提示词|画面|场景|主体|主题|标题|描述|内容|背景|风格|镜头|画质|色调|氛围|光线|构图)\s*:\s*([^。\n,;]*)"
)
_STYLE_LABELS = ("风格", "镜头", "画质", "色调", "氛围", "光线", "构图")


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
_SHADES = {  # what precedes a colour and says which shade: 墨绿, 酒红色
    "红": "酒 枣 玫 玫瑰 砖 暗 深 浅 桃 火",
    "蓝": "湖 宝 藏 深 浅 淡 靛 孔雀",
    "绿": "墨 草 军 深 浅 橄榄 嫩 薄荷 翡翠 苹果",
    "黄": "柠檬 鹅 土 淡 浅 姜 明",
    "白": "米 奶 乳 纯",
    "灰": "深 浅 银 烟",
    "紫": "深 浅 淡",
    "棕": "深 浅 红",
    "粉": "浅 淡 嫩",
}
_COLOURS |= {
    f"{shade}{colour}{end}": _COLOURS[colour]
    for colour, shades in _SHADES.items()
    for shade in shades.split()
    for end in ("", "色")
}
_SIZES = word_set("大 小 巨大 巨型 大型 小型 微小 迷你 高大 小小")
_OTHER_ADJECTIVES = word_set(
    "条纹 格子 格纹 波点 蓝白 红白 红黑 黄黑 "
    "老 旧 新 年老 年轻 古老 现代 古代 未来 美丽 可爱 漂亮 雪白 木 木制 木质 木头 金属 石头 石制 玻璃 塑料 破旧 豪华 "
    "安静 热闹 繁忙 昏暗 明亮 "
    "黑暗 寒冷 炎热 巨 高 矮 胖 瘦 长 短 圆 方 透明 废弃 荒凉 神秘 赛博朋克 毛绒 机械 中国 日本 复古 发光 宏伟 "
    "壮观 茂密 宁静 金属质 空荡 空荡荡 空旷 拥挤"
)
_MADE = word_set("竹编 藤编 草编 冰制 纸制 雪制 金制 银制 铁制 铜制 钢制 竹制 布制 皮制 沙制 糖制")
_ADJECTIVES = frozenset(_COLOURS) | _SIZES | _OTHER_ADJECTIVES | _MADE
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
    "擂台 拳击台 月下 "
    "西湖 大街 胡同 雪原 冰川 沼泽 岛屿 小岛 海岛 港湾 池塘 溪流 小溪 河边 岸边 桥上 教堂 剧院 电影院 商场 游乐园 "
    "动物园 夕阳 "
    "夜景 雪景 街景 风景 美景 水下 水底 水中 珊瑚礁 外滩 洪崖洞 断桥 鼓浪屿 张家界 天坛 东方明珠 大理 埃菲尔铁塔 "
    "巴黎铁塔 "
    "威尼斯 撒哈拉 亚马逊 香港 成都 重庆 西安 台北 戈壁 绿洲 草甸 湿地 地牢 战壕 驾驶舱 天台 楼顶 集市 庙会 夜市 "
    "婚礼 演唱会 音乐会 跑道 赛道 "
    "铁轨 站台 十字路口 工地 海面 水面 冰面 山间 风雪 晨光 曙光 夜幕 蓝天 风暴中 大道 步道 小道 山路 江南 水乡 "
    "春节 除夕 圣诞节 万圣节 元宵节 "
    "中秋节 端午节 集装箱码头 太空站 空间站 云端 地平线 海平面 星球 郊外 野外 城郊 市中心 老街 "
    "水族馆 操场 实验室 工厂 仓库 地下室 隧道 火车站 田园 果园 葡萄园 花海 花田 林间 树下 山顶 山脚 云海 银河 极光 "
    "霓虹 午夜 深夜 "
    "正午 白天 雨夜 雪夜 月夜 风暴 沙尘暴 彩虹 晚霞 朝霞"
)
_STYLE = word_set(
    "电影感 电影 电影级 电影般 写实 逼真 真实感 超写实 动漫 动画 卡通 漫画 水彩 水彩画 油画 水墨 水墨画 素描 国画 "
    "插画 赛博朋克风 特写 近景 远景 中景 全景 航拍 鸟瞰 鸟瞰图 俯拍 仰拍 俯视 仰视 平视 角度 "
    "慢动作 慢镜头 延时 延时摄影 镜头 画面 画质 高清 "
    "超高清 高画质 风格 光影 构图 景深 虚化 渲染 质感 色调 氛围 视频 照片 摄影 拍摄 视角 像素 分辨率 细节 高质量 "
    "古风 国风 二次元 温馨 唯美 治愈 治愈系 浪漫 震撼 奇幻 科幻 悬疑 第一人称 "
    "杰作 广角 微距 手持 跟拍 黑白 复古风 宫崎骏 皮克斯 恐怖片 惊悚片 纪录片 喜剧片 黏土动画 粘土动画 "
    "定格动画 像素风 像素画 4k 8k 2k hd 3d 2d cg 1080p imax"
)
_LOOKS = {  # in English, the look of what they are part of
    **dict.fromkeys(("写实", "逼真", "真实", "照片", "摄影", "纪录片"), "realistic"),
    **dict.fromkeys(("水墨", "国画"), "ink-wash"),
    **dict.fromkeys(("黏土", "粘土"), "claymation"),
    **dict.fromkeys(("像素风", "像素画", "像素艺术"), "pixel-art"),
    **dict.fromkeys(("恐怖", "惊悚"), "horror"),
    **dict.fromkeys(("动漫", "漫画", "日漫"), "anime"),
    **dict.fromkeys(("黑白", "单色"), "monochrome"),
    **{"水彩": "watercolor", "油画": "oil-painting", "卡通": "cartoon", "动画": "animation", "素描": "sketch"},
    **{"插画": "illustration", "皮克斯": "pixar", "宫崎骏": "ghibli", "电影": "film", "彩色": "colorful"},
    **{"定格动画": "stop-motion", "乐高": "lego", "剪纸": "papercraft", "喜剧": "comedy"},
}
_STYLE_ENDS = ("风格", "色调", "镜头", "画质", "画风", "感", "视角", "摄影", "电影", "影片", "动画", "漫画")
_NOTHING = word_set(
    "个 一个 东西 时候 样子 方向 部分 瞬间 过程 时间 整个 旁边 中央 中间 周围 左边 右边 前方 后方 远处 近处 四周 "
    "空 空中 半空 "
    "一起 人们的 全身 人像"
)
_NEGATIONS = word_set(
    "没有 没 无 不要 别 不含 不包含 不是 除了 避免 禁止 毫无 不带 不戴 没戴 没穿 不穿 不出现 而非 而不是 缺少 缺乏 "
    "远离 除 不见 并非 未见 看不到 看不见 见不到 找不到"
)
_NOBODY = word_set("无人 空无一人 没人")
_LIKE = word_set("像 好像 就像 仿佛 犹如 宛如 宛若 如同 如 似 形似 酷似")
_LIKE_ENDS = word_set("一样 一般 般 似的 那样 般的 那般")
_SAYS = word_set("是 为 呈 变成 变 漆成 涂成 染成 刷成 涂 染 漆")
_DEGREES = word_set("很 非常 都 全 全是 十分 极其 特别 被 成 有点 也")
_ACTIONS = word_set(
    "跑步 飞翔 飞舞 跳舞 游泳 睡觉 唱歌 散步 奔跑 玩耍 跳跃 大战 对战 决斗 战斗 追逐 行走 旋转 微笑 飞行 航行 行驶 "
    "燃烧 绽放 倒映 映照 洒落 弥漫 笼罩 环绕 缠绕 覆盖 排队 排列 飘散 飘荡 翱翔 盘旋 穿梭 流淌 拍打 相遇 牵手 "
    "喂食 拍照 合影 野餐 "
    "游动 苏醒 手捧 手握 手拿 怀抱 身着 身穿 头戴 脚踩 肩扛 飘扬 "
    "排着队 跳着舞 唱着歌 低着头 "
    "飘落 表演 演奏 画画 写字 读书 看书 吃饭 做饭 烹饪 钓鱼 滑雪 冲浪 滑板 骑马 开车 拥抱 亲吻 打架 喝茶 聊天 工作 "
    "学习 休息 雕刻 整理 正在 "
    "等待 飘动 流动 闪烁 升起 落下 穿行 漂浮 盛开 旅行 生活 特写"
) - word_set("特写 滑板")
_MORE_MEASURES, _CROWDS = "名根栋幢台部架支枝颗件匹艘", ("群", "些", "队", "排", "堆")
_MEASURES = "条只个匹头位辆艘座棵朵把张杯盏"
_ACTING = word_set(
    "飞行 燃烧 旋转 漂浮 发光 会飞 流动 闪烁 奔跑 移动 悬浮"
)  # before a thing, what it is like: 飞行汽车
_TAKES = "放追织喂追举挥堆踢打骑弹吃喝看玩拿抱穿戴开唱拉吹画写读做"
_PEOPLE = word_set(
    "车 花 树 鸟 鱼 狗 猫 马 船 桥 门 窗 灯 火 草 龙 虎 熊 牛 羊 鸡 鸭 书 刀 剑 伞 "
    "少年 少女 侦探 裁判 教练 导演 编辑 机器人 宇航员 骑士 法师 武士 忍者 海盗 雕塑 喷泉 烟花 霓虹灯 大熊猫 宇航服 "
    "玩偶服 布偶装"
)
_THINGS = word_set(  # things that the dictionary lacks, or takes for places or verbs
    "吉他 拿铁 美式咖啡 麻辣烫 汉堡 西瓜 南瓜 牡丹 薰衣草 布偶猫 英短 狸花猫 霸王龙 越野车 宇宙飞船 无人机 "
    "外卖小哥 快递员 警察 "
    "相机 小熊猫 小龙虾 小提琴 小丑鱼 老鹰 老虎 大提琴 奶茶 糖葫芦 汉服 旗袍 马面裙 熊猫 白发 黑衣人 卡布奇诺 "
    "毛肚 白马 "
    "油纸伞 孔明灯 乌篷船 机甲 丧尸 柯基 柴犬 金毛犬"
)
_BODY = word_set("手 头 脸 身 身上 背 肩 嘴 眼 眼睛 手中 手里 心 心中 头上 怀")
_STOPS = word_set("， 。 ！ ？ ； ： 、 , . ! ? ; : \n | ( ) （ ） 和 与 及 跟 而 但 但是")
_ONES = {sign: number for number, sign in enumerate("一二三四五六七八九", start=1)}
_LISTS = word_set("、 和 或 或者 与 及")


@cache
def _tagger() -> Any:  # Any: jieba has no types
    """jieba's tagger with its dictionary: takes 1 s, needed only where Chinese is read."""
    # It imports pkg_resources and has odd escapes in patterns. For good: `catch_warnings` would affect every thread.
    warnings.filterwarnings("ignore", module=".*jieba")
    import jieba
    import jieba.posseg

    words = jieba.Tokenizer()
    # Left alone, it trusts any `jieba.cache` in /tmp, whoever put it there; reading that is slower than building it.
    words.FREQ, words.total = words.gen_pfdict(words.get_dict_file())
    words.initialized = True
    for word in sorted(_SCENES | _STYLE | _PEOPLE | _THINGS | _ACTIONS | frozenset(_COLOURS)):
        if _HAS_CHINESE.search(word) and len(word) > 1:
            words.add_word(word, freq=20_000, tag="a" if word in _COLOURS else "v" if word in _ACTIONS else "n")
    words.add_word("没有", freq=1_000_000, tag="v")
    words.del_word("任何人")  # any person
    for word in sorted(_MADE | {"赛博朋克"}):
        words.add_word(word, tag="b")
    return jieba.posseg.POSTokenizer(words)


def read(text: str) -> Reading:
    """The entities, the excluded entities and the style of a Chinese text.

    Traditional characters are read as the simplified ones, which the dictionary has, but shown as written.
    """
    from wordfreq.chinese import simplify_chinese

    simple = _HAS_CHINESE.sub(lambda match: simplify_chinese(match[0])[:1], text.replace("著", "着"))
    if simple == text:
        return _read(text)
    written = str.maketrans({new: old for old, new in zip(text, simple, strict=True) if old != new})
    found = _read(simple)

    def as_written(entities: Sequence[Entity]) -> tuple[Entity, ...]:
        return tuple(replace(entity, text=entity.text.translate(written)) for entity in entities)

    return Reading(
        entities=as_written(found.entities),
        excluded=as_written(found.excluded),
        style=tuple(style.translate(written) for style in found.style),
        looks=found.looks,
    )


def _read(text: str) -> Reading:
    """What a text in simplified characters names."""
    found = Found()
    text = _LABEL.sub(lambda match: _label(match, found), text)
    text = _LETTERS.sub(lambda match: _latin(match[0], found), text)
    text = _MADE_OF.sub(lambda match: _STUFF[match[1]], text)
    text = re.sub(r"(?<=[\u3400-\u9fff])\s+(?=[\u3400-\u9fff])", "，", text)
    cut = [(word.strip().lower(), flag) for word, flag in _cut(text) if word.strip()]
    _join_endings(cut)
    befores, afters = ("", *(flag for _, flag in cut)), (*(word for word, _ in cut[1:]), "")
    around = zip(cut, befores, afters, strict=False)
    words = _with_counts([part for (word, flag), *beside in around for part in _parts(word, flag, *beside)])
    i = 0
    while i < len(words):
        i = _next(words, i, found)
    return found.reading()


def _join_endings(cut: list[tuple[str, str]]) -> None:
    """Joins endings of style to their word, and removes 时 from times of day: 水墨风, 史诗感, 日落时的大海."""
    for i in range(len(cut) - 1, 0, -1):
        (before, flag), (word, _) = cut[i - 1], cut[i]
        is_manner = word == "格" and before.endswith("风")  # 赛博朋克风格
        is_style = (word == "风" and before in _STYLE) or (word == "感" and flag[0] in "na")
        if is_manner or is_style:
            cut[i - 1 : i + 1] = [(f"{before}{word}", "n")]
        elif cut[i] == ("时", "ng") and before in _SCENES:
            cut[i] = ("时", "d")


_STUFF = {  # what things are made of → how that describes them
    word: stuff
    for stuff, words in {
        "木制": "木头 木 原木 实木",
        "冰制": "冰 冰块",
        "纸制": "纸 纸张 折纸",
        "石制": "石头 石 岩石",
        "雪制": "雪",
        "金制": "金 黄金",
        "银制": "银",
        "铁制": "铁",
        "铜制": "铜",
        "钢制": "钢",
        "竹制": "竹 竹子",
        "布制": "布",
        "皮制": "皮革",
        "沙制": "沙 沙子",
        "糖制": "糖",
        **{same: same for same in ("玻璃", "水晶", "金属", "塑料", "陶瓷", "巧克力")},
    }.items()
    for word in words.split()
}
_MADE_OF = re.compile(  # 用冰雕成的城堡, 玻璃做的鱼
    rf"[用由以]?({'|'.join(sorted(_STUFF, key=len, reverse=True))})"
    r"(?:打造|制作|雕刻|搭建|建造|编织|堆砌|制造|[做制雕建搭砌织堆编造捏折])(?:而成|成)?的"
)

_COUNTED = re.compile(  # 3匹马, 三本书; 一 begins too many other words
    r"((?<![\d.:/])(?<![a-z])[1-9]\d{0,2} ?"
    r"|(?<![一二两三四五六七八九十百第])(?:十?[两三四五六七八九]|[两三四五六七八九]?十[两三四五六七八九]?))"
    rf"([{_MEASURES}{_MORE_MEASURES}{''.join(_CROWDS)}双对本块片粒枚盆碗瓶盒罐串束株间])(?=[\u3400-\u9fff]|\W|$)",
    re.I,
)


def _cut(text: str) -> Iterator[tuple[str, str]]:
    """The words of a text with their flags; a number and its measure word are never part of another word."""
    end = 0
    for match in _COUNTED.finditer(text):
        yield from _tagger().cut(text[end : match.start()])
        number = match[1].strip()
        yield (_in_words(int(number)) if number.isdigit() else number), "m"
        yield match[2], "q"
        end = match.end()
    yield from _tagger().cut(text[end:])


def _in_words(number: int) -> str:
    """A number up to ten as it is said before a measure word: 两, 十."""
    return "零一两三四五六七八九十"[number] if number <= 10 else str(number)


def _label(match: re.Match[str], found: Found) -> str:
    """What a label leaves of a text: "风格：水墨" is style."""
    if match[1] in _STYLE_LABELS:
        _add_style(match[2].strip(), found)
        return "，"
    return f"，{match[2]}"


def _add_style(text: str, found: Found) -> None:
    looks = (english for word, english in _LOOKS.items() if word in text)
    found.add_style(text, (text, *looks))


def _latin(word: str, found: Found) -> str:
    lower = word.lower()
    if lower in _STYLE or lower in STYLE_WORDS:
        _add_style(lower, found)
        return "，"
    return word


Words = Sequence[tuple[str, str]]


def _with_counts(words: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The words with each number moved right before the things that it counts: 两个穿汉服的女孩 as 穿汉服的两个女孩."""
    for i in range(len(words) - 2, -1, -1):
        end = i + 1 + (words[i + 1][1] == "q")
        is_count = words[i][1] == "m" and _counts(words[i][0], words[i + 1]) and end < len(words)
        is_clause = is_count and (words[end][1][0] == "v" or words[end][0] in _TAKES)
        if is_clause and not _is_acting(words, end) and words[end][0] not in _NEGATIONS:
            thing = _behind_clause(words, end)
            if thing:
                words[i:thing] = words[end:thing] + words[i:end]
    return words


def _counts(number: str, after: tuple[str, str]) -> bool:
    """Whether a number has its measure word: 两 个, 一群."""
    return after[1] == "q" or number[1:2] in (*_MEASURES, *_MORE_MEASURES, *_CROWDS, "对")


def _behind_clause(words: Words, start: int) -> int:
    """The place of the thing that a clause from start describes, after its last 的; 0 if it describes none."""
    thing = 0
    for i in range(start, min(start + _LONGEST_CLAUSE, len(words))):
        if words[i][0] in _STOPS or words[i][1] == "m":
            break
        _, stop = _phrase(words, i + 1) if words[i][0] == "的" else (i, i)
        if stop > i + 1:
            thing = i + 1
    return thing


_LONGEST_CLAUSE = 9  # words
_LANDSCAPE = "云雨雪雾林水海河湖山草花"


def _parts(word: str, flag: str, before: str, after: str) -> list[tuple[str, str]]:
    """A word of the dictionary, split if it is two here: 窗台上 (on the sill), 云中 (in clouds), 踢足球 (kicks a ball).

    `before` is the flag of the word before it (木桌上 is on a wooden table), `after` the next word.
    """
    known = _tagger().word_tag_tab
    if len(word) > 2 and word.endswith("色") and after == "的":
        return [(word, "a")]  # 翡翠色的
    if len(word) > 1 and word.endswith("在") and flag[0] in "vil" and word not in _NO_PLACES_IN:
        return [(word[:-1], "v"), ("在", "p")]  # 倒映在, 坐在
    if len(word) > 3 and word.endswith(("时分", "时刻")):
        return [(word[:-2], "n"), (word[-2:], "d")]  # 日落时分
    if len(word) == 2 and word[1] == "满":
        return [(word, "v")]  # 长满青苔
    if len(word) == 2 and word[0] in "上下里" and word[1] in "放摆挂停坐站躺趴飘" and before[:1] in ("n", "s"):
        return [(word[0], "f"), (word[1], "v")]  # 桌子|上|放着
    if len(word) == 4 and flag in ("i", "l", "z") and (after == "的" or _is_manner_of(word, known)):
        return [(word, "z")]  # 色彩斑斓的鱼, 熙熙攘攘
    if len(word) > 2 and word[1] == "着" and flag[0] in "nl":
        return [(word[0], "v"), ("着", "uz"), (word[2:], "n")]  # 骑着马, 下着雪
    if len(word) > 1 and word.endswith("着") and flag[0] in "nl":
        return [(word[:-1], "v"), ("着", "uz")]  # 海浪拍打着礁石
    if len(word) == 3 and word[0] in _LANDSCAPE and word[1] in "里上下中" and flag == "nr":
        return [(word[0], "n"), (word[1], "f"), (word[2], "v")]  # 透明的|水|里|游着
    if word == "飞":
        return [(word, "v")]
    if len(word) > 2 and word[0] in _MEASURES and before == "m" and flag == "nr":
        return [(word[0], "q"), (word[1:], "n")]  # 一|朵玫瑰
    if word == "手持" and before[:1] == "n":
        return [("持", "v")]  # 孙悟空手持金箍棒; else it is how the camera is held
    if len(word) == 2 and word[0] in "追踢放抚" and flag[0] == "n":
        return [(word[0], "v"), (word[1], "n")]  # 追球
    if len(word) == 3 and word[0] == "一" and word[1] in _MEASURES and flag in ("l", "i", "n", "m"):
        return [("一", "m"), (word[1], "q"), (word[2], "n")]  # 一条龙, also a service from one hand
    is_place = word[-1] in _PLACE_AFTER and (
        (len(word) > 2 and (word[:-1] in _SCENES or known.get(word[:-1]) or word not in known))
        or (len(word) == 2 and (word[0] in _LANDSCAPE or (before[:1] in "nabp" and before and flag in "ns")))
    )
    if is_place and (word not in _SCENES - {"雨中"} or (word == "树下" and before)) and word[-1] in "上里中下内外前":
        return [(word[:-1], "n"), (word[-1], "f")]
    is_idiom = len(word) == 4 and flag in ("l", "i", "nr", "ns") and known.get(word[:2], "")[:1] == "n"
    if is_idiom and word not in _SCENES and (known.get(word[2:], "n")[:1] in "avzd" or word.endswith("西下")):
        return [(word[:2], "n"), (word[2:], "v")]  # 尘土飞扬, 阳光明媚: dust that rises
    if len(word) > 2 and word[0] in _TAKES and word not in _SCENES and known.get(word[1:], "")[:1] == "n":
        return [(word[0], "v"), (word[1:], "n")]
    return [(word, flag)]


_NO_PLACES_IN = word_set("存在 现在 正在 所在 内在 外在 潜在 实在 好在 自在 旨在")


def _is_manner_of(word: str, known: Mapping[str, str]) -> bool:
    """Whether a word of four characters says only how something is: 熙熙攘攘, 高高挂起."""
    return word[0] == word[1] and known.get(word[:2], "a")[:1] != "n"


def _next(words: Words, i: int, found: Found) -> int:
    """Reads what stands at i; returns where the next thing begins."""
    word, _ = words[i]
    if word in _NOBODY:
        found.excluded.setdefault("人", Entity(text="人", head="人", weight=salience.weight("人", ())))
        return i + 1
    if word in _NEGATIONS:
        return _exclude(words, i + 1, found.excluded)
    if word in _LIKE or (word == "比" and i + 1 < len(words)):
        return _skip_comparison(words, i)
    first, stop = _phrase(words, i)
    if stop == i:
        return i + 1
    if _is_likeness(words, i, stop):
        return stop + 1
    if _is_style(words[first:stop]):
        _add_style("".join(part for part, _ in words[i:stop] if part != "的"), found)
    else:
        while first < stop - 1 and words[first][0] in _STYLE:
            _add_style(words[first][0], found)
            first, i = first + 1, first + 1
        said, end = _said(words, stop)
        entity = _entity(words, i, stop, said)
        if entity is not None:
            found.seen.setdefault(entity.text, entity)
        return end
    return stop


def _skip_comparison(words: Words, i: int) -> int:
    """Where a comparison that begins at i ends: 像狮子一样的, 比房子还."""
    _, stop = _phrase(words, i + 1)
    if stop == i + 1:
        return i + 1
    if stop < len(words) and words[stop][0] in _LIKE_ENDS:
        stop += 1
    return stop


def _is_likeness(words: Words, start: int, stop: int) -> bool:
    """Whether the words after a phrase make it a comparison: 龙一样的云, 雪一样白; but not 猫和狗一样大."""
    likes = words[stop][0] if stop < len(words) else ""
    after = words[stop + 1][0] if stop + 1 < len(words) else ""
    is_with = start > 0 and words[start - 1][0] in ("和", "跟", "与", "同")
    is_of_next = after == "的" or after in _ADJECTIVES or likes.startswith(("似", "般"))
    return likes in _LIKE_ENDS and is_of_next and not is_with


def _said(words: Words, i: int) -> tuple[list[str], int]:
    """The colour, size etc. that a sentence gives the noun before i, and where that ends: 是红色的, 被漆成红色."""
    end = i
    has_verb = False
    while end < len(words) and (words[end][0] in _SAYS or words[end][0] in _DEGREES):
        has_verb = has_verb or words[end][0] in _SAYS
        end += 1
    said = []
    while has_verb and end < len(words) and words[end][0] in _ADJECTIVES:
        said.append(words[end][0])
        end += 1
    if end < len(words) and words[end][0] == "的":
        end += 1
    is_whole = end == len(words) or words[end][0] in _STOPS
    return (said, end) if said and is_whole else ([], i)


def _exclude(words: Words, i: int, excluded: dict[str, Entity]) -> int:
    """Takes the things of a negation; returns where it ends."""
    while i < len(words):
        while i < len(words) and (words[i][0] in _FILLERS or words[i][1] in ("q", "p")):
            i += 1
        _, stop = _phrase(words, i)
        if stop == i:
            return i
        entity = _entity(words, i, stop, [])
        if entity is not None:
            excluded.setdefault(entity.text, entity)
        i = stop
        if not (i < len(words) and words[i][0] in _LISTS):
            return i
        i += 1
    return i


_FILLERS = word_set("任何 出现 有 其他 一个 包含 显示 穿 戴 穿着 戴着 带 看到 看见 以外 之外 一丝 多余")


def _phrase(words: Words, i: int) -> tuple[int, int]:
    """Where the nouns of the phrase at i begin and where they end; twice i if none begins there."""
    first = i
    while first < len(words):
        word, flag = words[first]
        is_description = word in _ADJECTIVES or (flag in _DESCRIBES and not _is_noun(word, flag)) or flag == "q"
        is_description = is_description or _is_acting(words, first)
        if (
            not is_description and not (word == "的" and first > i)
        ) or word in _STOPS | _PLACE_BEFORE | _NEGATIONS | _LIKE:
            break
        first += 1
    stop = first
    while stop < len(words) and _is_noun(*words[stop]):
        if stop > first and words[stop][0] in _PLACE_AFTER and words[stop][1] in ("f", "s"):
            break
        stop += 1
    while stop - first > 1 and words[stop - 1][1] == "an":
        stop -= 1  # 灯光温暖: its description follows it
    is_quality = stop == first + 1 and words[first][1] == "an" and words[first][0] not in _PEOPLE
    return (first, stop) if stop > first and not is_quality else (i, i)


def _is_acting(words: Words, i: int) -> bool:
    """Whether what stands at i says what the thing right after it does: 飞行汽车, but not 车飞行."""
    is_first = i == 0 or not _is_noun(*words[i - 1])
    return words[i][0] in _ACTING and is_first and i + 1 < len(words) and _is_noun(*words[i + 1])


def _is_noun(word: str, flag: str) -> bool:
    if word in _ADJECTIVES or word in _NOTHING or word in _ACTIONS or word in _NEGATIONS or word in _LIKE:
        return False
    return flag in _NOUN or word in _SCENES or word in _STYLE or word in _PEOPLE or word in _THINGS


def _is_style(run: Words) -> bool:
    text = run[-1][0]
    is_manner = len(text) > 2 and text.endswith("风") and not _tagger().word_tag_tab.get(text)
    return text in _STYLE or text.endswith(_STYLE_ENDS) or is_manner or all(part in _STYLE for part, _ in run)


def _entity(words: Words, start: int, stop: int, said: Sequence[str]) -> Entity | None:
    run = [word for word, flag in words[start:stop] if word != "的" and flag not in ("uj", "q", "m")]
    counts = [count for word, flag in words[start:stop] if flag == "m" and (count := _count(word))]
    run = [*said, *run]
    if not run or all(word in _NOTHING for word in run) or run[-1] in _ADJECTIVES or run == ["背景"]:
        return None
    head = run[-1]
    described = run[:-1]
    colours = [found for word in run if (found := _colour(word))]
    sizes = [word[0] for word in run if _is_sized(word)]
    attributes = dict.fromkeys((*counts, *sizes, *(word for word in described if word not in _COLOURS), *colours))
    return Entity(
        text="".join(run),
        head=head,
        attributes=tuple(attributes),
        kind=_kind(words, start, stop, head, words[stop - 1][1]),
        weight=salience.weight(head, tuple(attributes)),
        is_single=not counts and any(flag == "m" and _is_one(word) for word, flag in words[start:stop]),
    )


def _count(word: str) -> str:
    """The number in a word of number and measure: 三只, 十五名, 一群; empty for one, and without a number."""
    if word[1:2] in _CROWDS or word in CONFLICT_GROUPS["number"]:
        return word if word in CONFLICT_GROUPS["number"] else "许多"
    digits = re.match(r"\d+|[一二两三四五六七八九十百千几]+", word)
    if word == "一对":
        return "两"
    if digits is None or digits[0] == "一":
        return ""
    if digits[0].isdecimal() or len(digits[0]) == 1:
        return digits[0]
    tens, is_ten, ones = digits[0].partition("十")
    if not (is_ten and len(tens) < 2 and len(ones) < 2):
        return "许多"  # 三五只, 几百个
    return f"{_ONES.get(tens, 1)}{_ONES.get(ones, 0)}"


def _is_one(word: str) -> bool:
    """Whether a word is "one" and a measure of single things: 一只, but not 一片."""
    return word[0] == "一" and word[1:2] in (*_MEASURES, *_MORE_MEASURES)


def _is_sized(word: str) -> bool:
    """Whether a word begins with the size or age of what it names: 大房子, 小猫; but not 大象, 老师."""
    rest = word[1:]
    is_thing = rest in _PEOPLE or (len(rest) > 1 and _tagger().word_tag_tab.get(rest, "")[:1] == "n")
    return word[0] in "大小老" and is_thing


def _colour(word: str) -> str | None:
    """The colour that a word is or begins with: 红色, 橘猫, 红衣服."""
    if word in _COLOURS:
        return _COLOURS[word]
    is_place = word in _SCENES | {"白天"} or word.endswith(_NAMED_PLACES)
    is_coloured = len(word) > 1 and word[0] in _COLOURS and not is_place
    return _COLOURS[word[0]] if is_coloured else None


_NAMED_PLACES = ("城", "宫", "江", "河", "海")  # 紫禁城, 黄河: no colour is seen


def _kind(words: Words, start: int, stop: int, head: str, flag: str) -> EntityKind:
    after = words[stop][0] if stop < len(words) else ""
    before = words[start - 1][0] if start else ""
    is_place = (
        head in _SCENES
        or (flag in ("ns", "s", "t") and head[0] not in _COLOURS and head not in _PEOPLE | _THINGS)
        or (len(head) > 1 and head.endswith(_PLACE_ENDS))
    )
    is_inside = head not in _BODY and (after in _PLACE_AFTER or before in ("在", "于"))
    return EntityKind.SCENE if is_place or is_inside else EntityKind.OBJECT


_PLACE_ENDS = (
    "世界",
    "城",
    "街",
    "路",
    "林",
    "海",
    "湖",
    "山",
    "场",
    "馆",
    "店",
    "园",
    "村",
    "镇",
    "岛",
    "谷",
    "桥",
    "站",
    "宫",
    "殿",
    "原",
    "洞",
    *(
        "江",
        "滩",
        "丘",
        "洲",
        "厅",
        "室",
        "厢",
        "舱",
        "寺",
        "庙",
        "房",
        "楼",
        "崖",
        "岸",
        "坡",
        "溪",
        "潭",
        "港",
        "湾",
        "巷",
    ),
    *("雨", "雪", "雾", "礁", "雪山", "树下", "池塘", "泳池"),
)
