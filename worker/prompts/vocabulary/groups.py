"""Words that mean the same thing, and words that exclude each other: colours, sizes, ages, numbers, kinds."""

from worker.prompts.vocabulary.lists import groups, phrase_set, word_set

# Words of one group that mean different things cannot both be true of one thing. Synonyms share a value.
CONFLICT_GROUPS: dict[str, dict[str, str]] = {
    "colour": groups(
        red="红色 red crimson scarlet ruby maroon burgundy vermilion carmine",
        blue="蓝色 blue navy azure cobalt sapphire cerulean ultramarine",
        green="绿色 green emerald lime olive chartreuse viridian",
        yellow="黄色 yellow lemon mustard gold golden ochre",
        orange="橙色 orange amber tangerine saffron apricot",
        purple="紫色 purple violet lavender magenta indigo mauve lilac",
        pink="粉色 pink rose fuchsia",
        brown="棕色 brown chestnut tan beige khaki taupe umber sienna",
        black="黑色 black ebony jet-black",
        white="白色 white ivory snow-white",
        grey="灰色 grey gray",
        silver="银色 silver",
        turquoise="turquoise teal cyan aqua aquamarine",
    ),
    "size": groups(
        small="小 小型 迷你 微小 small tiny little miniature mini petite minuscule",
        medium="medium medium-sized",
        large="大 巨大 巨型 大型 高大 large big huge giant gigantic enormous massive colossal oversized",
    ),
    "age": groups(
        young="年轻 young teenage youthful newborn baby toddler puppy kitten cub foal fawn piglet",
        middle="middle-aged",
        old="老 旧 古老 古代 old elderly aged ancient senior aging",
        modern="现代 未来 modern new brand-new futuristic",
    ),
    "number": groups(
        one="one single lone solitary 1",
        two="两 二 two 2 both",
        three="三 three 3",
        four="四 four 4",
        five="五 five 5",
        six="六 six 6",
        seven="七 seven 7",
        eight="八 eight 8",
        nine="九 nine 9",
        ten="十 ten 10",
        dozen="dozen twelve 12",
        many="many several few some multiple numerous various countless hundreds thousands dozens hundred thousand "
        "许多 很多 几 一群 众多",
    ),
    "pattern": groups(
        plain="plain solid uniform bare",
        striped="striped stripy banded",
        barred="barred",
        checkered="checkered checked checkerboard chequered",
        dotted="dotted spotted polka-dot",
    ),
    "light": groups(
        bright="bright sunny sunlit brightly brightly-lit daylit",
        dark="dark dim gloomy unlit dimly dimly-lit low-lit pitch-black darkened",
        moonlit="moonlit",
        candlelit="candlelit",
        neon="neon-lit neon",
    ),
    "material": groups(
        wooden="木 木制 木质 木头 wooden wood oak bamboo wicker mahogany teak",
        metal="金属 金属质 金制 银制 铁制 铜制 钢制 "
        "metal metallic steel iron bronze copper brass aluminium aluminum chrome pewter titanium",
        stone="石头 石制 stone marble granite concrete brick basalt slate limestone sandstone",
        glass="玻璃 水晶 glass crystal",
        plastic="塑料 plastic rubber",
        paper="纸制 paper cardboard origami",
        cloth="布制 cotton silk velvet woolen woollen wool denim lace linen satin felt",
        hide="皮制 leather fur suede",
        clay="陶瓷 clay ceramic porcelain terracotta earthenware",
        ice="冰制 雪制 ice snow",
        sand="沙制 sand",
    ),
    "species": groups(
        human="human",
        robotic="robot robotic android cyborg",
        alien="alien extraterrestrial",
        zombie="zombie undead",
        teddy="teddy plush stuffed toy",
        cat="cat kitten feline",
        dog="dog puppy canine",
        lion="lion",
        tiger="tiger",
        wolf="wolf werewolf",
        bear="bear",
        horse="horse pony",
        dragon="dragon",
    ),
    "ages": groups(
        child="boy girl kid child baby toddler infant",
        adult="man woman lady gentleman granny grandmother grandfather",
    ),
    "gender": groups(
        male="male man boy king prince father grandfather",
        female="female woman girl queen princess mother grandmother",
    ),
    "body": groups(
        thin="thin slim skinny slender",
        fat="fat chubby obese plump overweight",
        muscular="muscular buff",
    ),
    "hair": groups(
        blond="blonde blond blonde-haired blond-haired",
        brunette="brunette brown-haired",
        redhead="redhead red-haired",
        dark_haired="black-haired dark-haired",
        white_haired="white-haired grey-haired gray-haired",
        bald="bald",
        long_haired="long-haired",
        short_haired="short-haired",
    ),
    "season": groups(
        winter="winter snowy snow-covered snow-capped icy frozen",
        summer="summer",
        autumn="autumn autumnal fall",
        spring="spring",
    ),
    "weather": groups(
        clear="clear sunny cloudless",
        cloudy="cloudy overcast",
        rainy="rainy rain-soaked",
        stormy="stormy",
        foggy="foggy misty hazy",
        starry="starry",
    ),
    "shape": groups(
        circle="circle disc disk round circular",
        square="square rectangle rectangular",
        triangle="triangle triangular",
        cross="cross",
        star="star",
        heart="heart heart-shaped",
        diamond="diamond",
        sphere="sphere ball orb",
        cube="cube block",
        pyramid="pyramid",
    ),
    "hour": groups(
        sunrise="sunrise dawn",
        morning="morning",
        noon="noon midday",
        day="day daytime daylight",
        sunset="sunset dusk twilight",
        evening="evening",
        night="night nighttime midnight",
        日出="日出 黎明 清晨",
        日落="日落 黄昏 傍晚",
        夜晚="夜晚 夜 晚上",
    ),
    "state": groups(
        empty="空荡 空荡荡 空旷 废弃 荒凉 empty abandoned deserted desolate",
        crowded="拥挤 热闹 繁忙 crowded busy bustling",
    ),
    "opening": groups(
        open="open opened",
        closed="closed shut",
    ),
    "wetness": groups(
        wet="wet soaked drenched",
        dry="dry parched",
    ),
    "bloom": groups(
        wilted="wilted withered wilting",
        blooming="blooming blossoming flowering",
    ),
    "waking": groups(
        asleep="sleeping asleep dozing",
        awake="roaring running jumping leaping galloping dancing fighting",
    ),
    "mood": groups(
        calm="calm peaceful serene tranquil quiet",
        violent="violent raging stormy turbulent",
    ),
}

# parts of a person or place that are little of a picture, but whose colour tells two pictures apart
COLOURED_PARTS = word_set(
    "hair beard fur feather plumage wing mane skin scale paint wall floor ceiling background backdrop"
)
COLOURS_OF_HAIR = {"blonde": "yellow", "blond": "yellow", "ginger": "red", "auburn": "red", "brunette": "brown"}

# Times that a whole prompt is at, by the nouns that name them: a castle at night lends nothing to one at noon.
TIMES: tuple[dict[str, str], ...] = (
    groups(
        night="night nighttime midnight 夜晚 夜 晚上 深夜 午夜",
        day="day daytime daylight morning noon midday 白天 早晨 中午 正午 午后",
    ),
    groups(
        winter="winter snow snowfall snowstorm blizzard 雪 大雪 冬天 冬季",
        summer="summer 夏天 夏季",
    ),
)
CLAD = "-clad"  # of somebody in that colour
CONFLICT_GROUPS["dress"] = {f"{word}{CLAD}": colour for word, colour in CONFLICT_GROUPS["colour"].items()}
CROWDED = frozenset(("crowded", "拥挤"))  # a place with people in it

# For the embedder, which puts "crimson" far from "red". Words that are also names of things stay out: gold, rose.
SYNONYMS: dict[str, str] = groups(
    red="crimson scarlet",
    blue="azure navy cobalt",
    green="emerald",
    purple="violet",
    white="ivory",
    grey="gray",
    yellow="golden",
    small="tiny little miniature mini petite minuscule",
    large="big huge giant gigantic enormous massive colossal",
    old="elderly aged",
    checkered="checked chequered",
    striped="stripy banded",
    truck="lorry",
    highway="motorway",
    stroller="pram pushchair",
)

# "sky blue", "blood red": before a colour these name a shade of it, and nothing that is seen
COLOUR_NOUNS = word_set(
    "sky midnight forest salmon blood snow sea chocolate navy royal lime olive mint rose ruby charcoal ash coal jet "
    "milk pearl cherry apple wine brick rust coffee caramel sand lemon canary mustard peach coral candy bubblegum "
    "eggshell eggplant aubergine pistachio sage fern avocado seafoam butter honey daffodil banana pumpkin carrot "
    "ginger cinnamon walnut mahogany espresso mocha cocoa flamingo blush poppy lobster raspberry cranberry grape "
    "mulberry amethyst orchid heather denim peacock prussian gunmetal graphite dove chalk porcelain onyx obsidian "
    "tar soot racing "
    "lavender plum steel slate ice baby powder electric neon cobalt emerald moss grass jade ocean teal pitch ink "
    "raven fire flame burnt hot tomato strawberry lilac violet dove silver smoke bone cream ivory hunter army pine "
    "sapphire crimson scarlet cornflower periwinkle turquoise aqua dusty pastel light dark deep pale bright"
)

# colours before a noun, things after "a" and in the plural; what is said of such things, not of colours
FRUITS = word_set("orange olive violet lavender")
OF_FRUITS = word_set("ripe juicy fresh peeled sliced halved rotten single whole blooming wilted")

# two words that are as COLOUR_NOUNS
SHADES_OF_TWO = phrase_set(
    "fire engine, candy apple, cotton candy, duck egg, egg yolk, egg shell, school bus, pea soup, british racing, "
    "lemon chiffon, rose petal, sea foam"
)

# nouns that name the same thing
NOUN_SYNONYMS: dict[str, str] = groups(
    sofa="couch settee",
    sea="ocean",
    forest="woods wood woodland",
    bicycle="bike",
    airplane="plane aeroplane airliner jetliner",
    house="home",
    child="kid",
    road="street",
    gun="pistol handgun",
    fire="flame flames",
    prison="jail",
    smoke="fume fumes",
    teenager="teen adolescent",
    cat="kitten kitty",
    dog="puppy doggy",
    car="automobile",
    spaceship="starship spacecraft",
    microphone="mic",
    phone="smartphone cellphone telephone",
    storm="thunderstorm",
    snow="snowfall",
    rain="rainfall raining",
    sunlight="sunshine",
    man="guy gentleman",
    woman="lady",
    clothes="clothing attire garment outfit apparel",
    rabbit="bunny hare",
    ship="boat vessel",
    rock="stone boulder",
    picture="photograph photo",
    sunrise="dawn daybreak",
    sunset="dusk",
    robot="android droid",
    doctor="physician",
    city="metropolis town",
    television="tv telly",
    motorcycle="motorbike",
    astronaut="cosmonaut spaceman",
    ufo="saucer",
    trousers="pants",
    roof="rooftop",
    chair="armchair",
    bag="handbag purse",
    horse="horseback",
    bathtub="tub",
    gown="dress",
    truck="lorry",
    highway="motorway freeway",
    stroller="pram pushchair",
    shop="store",
    hill="hillock hillside",
    jungle="rainforest",
    baby="infant",
    cinema="theater theatre",
    path="trail footpath",
    alien="extraterrestrial",
    jacket="coat",
    mug="cup",
    carpet="rug",
    garbage="trash rubbish",
    autumn="fall",
    policeman="cop",
    glade="clearing",
    fog="mist haze",
    ghost="phantom spectre",
    soldier="trooper",
)

# groups that a noun itself can belong to: a prince is no princess, a disc no square
HEAD_GROUPS = word_set("gender age ages shape species hour season")
# words that make another thing of what they describe, even if the other phrase has no description
NATURES = {
    word: name
    for name, words in (
        ("toy", "toy teddy plush plushie stuffed lego miniature doll puppet model replica"),
        ("machine", "robot robotic mechanical mecha cyborg android"),
        ("undead", "zombie undead skeleton ghost vampire"),
        ("trace", "shadow silhouette outline footprint fossil hologram costume mask skull"),
        ("image", "cartoon anime statue sculpture painting origami paper clay gingerbread balloon holographic tattoo"),
        ("image", "figurine bust poster sticker logo emblem carving engraving relief mosaic"),
        ("alien", "alien extraterrestrial"),
        ("baby", "baby"),
        ("ruin", "destroyed ruined burning wrecked broken crumbling collapsed exploding melting"),
    )
    for word in words.split()
}

# "a field with stripes" is a striped field
PATTERN_NOUNS = {
    **dict.fromkeys(("stripe", "stripes", "band", "bands"), "striped"),
    **dict.fromkeys(("bar", "bars"), "barred"),
    **dict.fromkeys(("check", "checks"), "checkered"),
    **dict.fromkeys(("dot", "dots", "spots"), "dotted"),
}
PATTERN_DIRECTIONS = word_set("horizontal vertical diagonal thin thick wide narrow fine bold")
