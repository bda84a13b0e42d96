"""Word lists of the entity extractor and of the matching rule, written for text-to-video prompts.

Plain data: to teach the extractor a word, add it to the list whose comment fits it.
"""


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def phrase_set(text: str) -> frozenset[str]:
    """The phrases of a text, which commas part."""
    return frozenset(text.split(", "))


def _groups(**synonyms: str) -> dict[str, str]:
    return {word: name for name, words in synonyms.items() for word in words.split()}


# Words of one group that mean different things cannot both be true of one thing. Synonyms share a value.
CONFLICT_GROUPS: dict[str, dict[str, str]] = {
    "colour": _groups(
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
    "size": _groups(
        small="小 小型 迷你 微小 small tiny little miniature mini petite minuscule",
        medium="medium medium-sized",
        large="大 巨大 巨型 大型 高大 large big huge giant gigantic enormous massive colossal oversized",
    ),
    "age": _groups(
        young="年轻 young teenage youthful newborn baby toddler puppy kitten cub foal fawn piglet",
        middle="middle-aged",
        old="老 旧 古老 古代 old elderly aged ancient senior aging",
        modern="现代 未来 modern new brand-new futuristic",
    ),
    "number": _groups(
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
    "pattern": _groups(
        plain="plain solid uniform bare",
        striped="striped stripy banded",
        barred="barred",
        checkered="checkered checked checkerboard chequered",
        dotted="dotted spotted polka-dot",
    ),
    "light": _groups(
        bright="bright sunny sunlit brightly brightly-lit daylit",
        dark="dark dim gloomy unlit dimly dimly-lit low-lit pitch-black darkened",
        moonlit="moonlit",
        candlelit="candlelit",
        neon="neon-lit neon",
    ),
    "material": _groups(
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
    "species": _groups(
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
    "ages": _groups(
        child="boy girl kid child baby toddler infant",
        adult="man woman lady gentleman granny grandmother grandfather",
    ),
    "gender": _groups(
        male="male man boy king prince father grandfather",
        female="female woman girl queen princess mother grandmother",
    ),
    "body": _groups(
        thin="thin slim skinny slender",
        fat="fat chubby obese plump overweight",
        muscular="muscular buff",
    ),
    "hair": _groups(
        blond="blonde blond blonde-haired blond-haired",
        brunette="brunette brown-haired",
        redhead="redhead red-haired",
        dark_haired="black-haired dark-haired",
        white_haired="white-haired grey-haired gray-haired",
        bald="bald",
        long_haired="long-haired",
        short_haired="short-haired",
    ),
    "season": _groups(
        winter="winter snowy snow-covered snow-capped icy frozen",
        summer="summer",
        autumn="autumn autumnal fall",
        spring="spring",
    ),
    "weather": _groups(
        clear="clear sunny cloudless",
        cloudy="cloudy overcast",
        rainy="rainy rain-soaked",
        stormy="stormy",
        foggy="foggy misty hazy",
        starry="starry",
    ),
    "shape": _groups(
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
    "hour": _groups(
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
    "state": _groups(
        empty="空荡 空荡荡 空旷 废弃 荒凉 empty abandoned deserted desolate",
        crowded="拥挤 热闹 繁忙 crowded busy bustling",
    ),
    "opening": _groups(
        open="open opened",
        closed="closed shut",
    ),
    "wetness": _groups(
        wet="wet soaked drenched",
        dry="dry parched",
    ),
    "bloom": _groups(
        wilted="wilted withered wilting",
        blooming="blooming blossoming flowering",
    ),
    "waking": _groups(
        asleep="sleeping asleep dozing",
        awake="roaring running jumping leaping galloping dancing fighting",
    ),
    "mood": _groups(
        calm="calm peaceful serene tranquil quiet",
        violent="violent raging stormy turbulent",
    ),
}

# parts of somebody or of a place that are little of a picture, but whose colour tells two pictures apart
COLOURED_PARTS = word_set(
    "hair beard fur feather plumage wing mane skin scale paint wall floor ceiling background backdrop"
)
COLOURS_OF_HAIR = {"blonde": "yellow", "blond": "yellow", "ginger": "red", "auburn": "red", "brunette": "brown"}

# Times that a whole prompt is at, by the nouns that name them: a castle at night lends nothing to one at noon.
TIMES: tuple[dict[str, str], ...] = (
    _groups(
        night="night nighttime midnight 夜晚 夜 晚上 深夜 午夜",
        day="day daytime daylight morning noon midday 白天 早晨 中午 正午 午后",
    ),
    _groups(
        winter="winter snow snowfall snowstorm blizzard 雪 大雪 冬天 冬季",
        summer="summer 夏天 夏季",
    ),
)
CLAD = "-clad"  # of somebody in that colour
CONFLICT_GROUPS["dress"] = {f"{word}{CLAD}": colour for word, colour in CONFLICT_GROUPS["colour"].items()}
CROWDED = frozenset(("crowded", "拥挤"))  # a place with people in it

# For the embedder, which puts "crimson" far from "red". Words that are also names of things stay out: gold, rose.
SYNONYMS: dict[str, str] = _groups(
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

# colours before a noun, things behind "a" and in the plural; what is said of such things, not of colours
FRUITS = word_set("orange olive violet lavender")
OF_FRUITS = word_set("ripe juicy fresh peeled sliced halved rotten single whole blooming wilted")

# two words that are as COLOUR_NOUNS
SHADES_OF_TWO = phrase_set(
    "fire engine, candy apple, cotton candy, duck egg, egg yolk, egg shell, school bus, pea soup, british racing, "
    "lemon chiffon, rose petal, sea foam"
)

# nouns that name the same thing
NOUN_SYNONYMS: dict[str, str] = _groups(
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
# two words that are another thing than the second alone
COMPOUNDS = phrase_set(
    "paper clip, hair clip, bulldog clip, binder clip, tie clip, money clip, crocodile clip, bobby pin, "
    "black hole, white house, flying saucer, bathing suit, space suit, steering wheel, ferris wheel, reality tv, hot "
    "dog, ice cube, ice cream, sour cream, hen house, action figure, blue whale, polar bear, teddy bear, gummy bear, "
    "guinea pig, sea lion, mountain lion, sea horse, red panda, prairie dog, air balloon, fire truck, sand castle, "
    "rubber duck, gingerbread house, doll house, tree house, bird house, traffic light, light bulb, neon sign, magic "
    "wand, shooting star, movie star, rock star, pop star, red carpet, green screen, phone booth, christmas tree, "
    "living room, locker room, throne room, swimming pool, pool table, chess board, surf board, washing machine, "
    "vending machine, time machine, slot machine, vacuum cleaner, race track, train station, gas station, space "
    "station, police station, bus stop, parking lot, roller coaster, boxing match, football match, soccer match, "
    "tennis match, wrestling match, food stand, lemonade stand, night stand, zebra crossing, street light, street "
    "lamp, dance floor, ball room, fight club, race car, fire place, rose garden, fire pit, drum set, coffee shop, "
    "barber shop, flower shop, burger king, prom queen, drag queen, ice queen, computer mouse, rocking horse, pommel "
    "horse, chess king, chess queen, chess knight, snow globe, baseball bat, cricket bat, crystal ball, disco ball, "
    "paper crane, construction crane, tower crane, potato chip, computer chip, piano key, chocolate bar, candy bar, "
    "gold bar, piggy bank, shoe horn, french horn, boxing ring, wedding ring, onion ring, water tank, gas tank, fish "
    "tank, egg roll, amusement park, theme park, car park, music box, mail box, house boat, sea star, bird bath, "
    "rain drop, rain drops, christmas present, christmas presents, birthday present, birthday presents"
)

# these groups are told by the noun itself too: a prince is no princess, a disc no square
HEAD_GROUPS = word_set("gender age ages shape species hour season")
# what makes another thing of whatever it describes, whether or not the other thing is described
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

_TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NUMERALS: dict[str, str] = {  # numbers that have no word in CONFLICT_GROUPS, as digits
    "eleven": "11",
    **{word: str(13 + i) for i, word in enumerate(_TEENS)},
    **{word: str(20 + 10 * i) for i, word in enumerate(_TENS)},
    **{f"{ten}-{one}": str(21 + 10 * i + k) for i, ten in enumerate(_TENS) for k, one in enumerate(_ONES)},
}
COUNTS = (
    frozenset(CONFLICT_GROUPS["number"])
    | NUMERALS.keys()
    | word_set("hundred thousand million another other every each")
)

# "a herd of elephants" is about elephants
QUANTIFIERS = word_set(
    "species genus breed breeds shades swirl "
    "form shape myriad plethora abundance tons loads blend fusion multitudes layers lineup horde hordes group groups "
    "pair pairs couple herd flock bunch lot lots variety series row rows stack piece pieces number hint hints touch "
    "swarm pile piles mix mixture combination assortment tangle gathering crowds hundreds thousands dozens millions "
    "kind kinds type types sort sorts set array collection multitude handful range cluster clusters pack plenty crowd "
    "trail dozen bit part parts heap trio crew gang slice slices game school shoal pod colony litter skein sheaf "
    "bundle clump tuft throng mob half third thirds quarter quarters"
)

# nouns that point at a place in the frame or at nothing: never an entity
EMPTY_NOUNS = word_set(
    "location locations depths vicinity whereabouts "
    "arrival arrivals departure departures "
    "loop loops entirety awe meantime midst foreground middle center centre left right top bottom front back side "
    "sides edge distance end beginning thing things something someone somebody anyone everybody everyone nothing "
    "everything one ones other others lot viewer frame length diameter width height screen-left subject subjects "
    "example time times job jobs concept moment moments second seconds minute minutes hour hours day today year years "
    "word words name idea sense air midair gs point points week weeks month months decade century blur min mins sec "
    "secs format setup lots resolution mode up down north south east west direction directions detail details "
    "feature features element elements effect effects version part parts kind type use look front-view action motion "
    "movement speed pace rhythm atmosphere mood vibe feeling feel ambiance ambience emotion emotions beauty majesty "
    "essence tranquility serenity sight testament contrast work life chance attempt addition process manner fashion "
    "setting settings case fact order turn result focus duration channel youtube instagram tiktok please thanks prompt "
    "request place"
)
POINTS_OF_THE_COMPASS = word_set("north south east west")
BEFORE_NAMES = word_set("lake mount mt cape fort")
MONTHS = word_set("january february march april may june july august september october november december")
# a phrase that ends in one of these says how things look or move, and names nothing: "matrix effect", "rasta colors"
CARRIERS = word_set(
    "effect effects color colors colour colours contrast motion movement vibe vibes feel feeling mood atmosphere "
    "length speed sharpness saturation brightness exposure clarity composition"
)
# what is said so is no thing of the picture
IDIOMS = frozenset(
    tuple(idiom.split())
    for idiom in (
        *("face to face", "side by side", "back to back", "hand in hand", "arm in arm", "head to toe", "eye to eye"),
        *(
            "step by step",
            "by heart",
            "over the moon",
            "one by one",
            "shoulder to shoulder",
            "cheek to cheek",
            "ear to ear",
            "in full swing",
            "full swing",
        ),
        *(
            "hole in one",
            "one day",
            "jump scare",
            "of course",
            "in action",
            "for example",
            "at work",
            "on top",
            "from head to toe",
        ),
        *("in search", "in need", "in detail", "in real life", "real life", "point of view", "in no time", "in person"),
        *("in charge", "in love", "at peace", "at rest", "on display", "in sight", "in use", "by hand", "at hand"),
        *(
            "in a row",
            "in rows",
            "in single file",
            "passage of time",
            "on purpose",
            "by chance",
            "in turn",
            "in time",
            "at ease",
            "in line",
            "in the way",
            "on the way",
            "in person",
        ),
    )
)
UNITS = word_set("meter metre cm mm km mile foot inch yard kg gram pound ton percent degree dollar euro iso year")
# what one calls a picture as a whole: with nothing but praise it is style
VIEWS = word_set("scene scenery environment atmosphere view image picture world composition landscape look")
PRAISE = word_set(
    "beautiful stunning amazing epic gorgeous intricate detailed perfect great awesome incredible breathtaking "
    "dramatic "
    "dynamic impressive professional realistic cinematic nice good best elegant magnificent wonderful spectacular "
    "iconic highly very ultra super extremely insanely hyper complex cool fantastic famous symmetrical symmetric"
)

# empty unless something describes them: "on a checkered purple background" is a scene, "in the background" is not
EMPTY_WHEN_BARE = word_set(
    "color colour interior exterior object background backdrop scene setting area place region day way light image "
    "surface environment camera lens "
    "landscape world display walk stroll "
    "alive angular authentic become begin believe business call calling coming community confuse consist creation "
    "current date demo dynamic elaborate evil experiment express festive fine fit force form formula fragile "
    "freeze full fusion generally generate gesture get getting going grit grotesquely happy hard hear high hike "
    "illusion industry infrastructure insane insanely intricate invention joyful joyous know league learning "
    "leave lecture legend limbo lit live living long loving low major mature maximum mean meticulously "
    "microscopic move moving narrow network new news nice northern notice offering operation opposite performance "
    "physical play population prayer pro profile public quest reach realist realistic refined releasing "
    "renaissance rising sale same save saving season shake shape sharp simulation sour source species split sport "
    "spot straight stunning surprising swift system take tight transfer transformation twist ultimate upper urban "
    "using vertical vide warp waving witchcraft witchery writing"
)

# places by name, which are no spelling of anything else
PLACE_NAMES = word_set(
    "tokyo paris london york manhattan venice rome egypt japan china india africa hawaii dubai moscow norway sweden "
    "denmark finland iceland ireland scotland england britain wales france spain portugal italy germany austria "
    "switzerland netherlands belgium poland ukraine russia greece turkey israel palestine iran iraq syria pakistan "
    "bangladesh nepal tibet mongolia korea vietnam thailand indonesia malaysia philippines singapore australia "
    "tasmania zealand antarctica arctic canada america usa mexico cuba jamaica brazil argentina chile peru colombia "
    "ecuador morocco nigeria kenya ethiopia madagascar europe asia california texas florida alaska arizona nevada "
    "chicago boston miami detroit seattle hollywood vegas toronto berlin munich vienna prague budapest athens "
    "istanbul jerusalem cairo mumbai delhi kolkata beijing shanghai kyoto osaka seoul bangkok sydney melbourne "
    "lisbon madrid barcelona venice florence naples amsterdam brussels oslo stockholm copenhagen helsinki dublin "
    "edinburgh sahara amazon himalaya himalayas alps everest atlantis"
)
# nouns that name a place, weather or a time of day wherever they stand
SCENE_NOUNS = PLACE_NAMES | word_set(
    "field background backdrop floor ground carpet beach street forest city desert ocean sea sky park meadow jungle "
    "woods wood countryside village town downtown skyline cityscape landscape seascape coast coastline shore "
    "seashore riverside roadside cliffside observatory synagogue planetarium "
    "shoreline seaside riverbank lakeside mountain mountainside mountaintop valley canyon cliff hill hillside "
    "hilltop plain prairie savanna savannah tundra swamp marsh glacier island lagoon bay harbor harbour port reef "
    "seabed underwater cave cavern kitchen bedroom bathroom room living-room classroom office library museum "
    "gallery hospital school hallway corridor basement attic garage warehouse factory laboratory lab studio theater "
    "theatre stadium arena gym gymnasium restaurant cafe café bar pub nightclub diner bakery market marketplace "
    "supermarket mall shop store airport station subway alley alleyway road highway avenue sidewalk plaza courtyard "
    "garden backyard yard farm barnyard ranch vineyard orchard playground cemetery graveyard ruins temple-interior "
    "space outer-space galaxy universe cosmos planet nebula orbit moonscape mars wilderness nature rainforest "
    "woodland grassland pasture wasteland dungeon ballroom throne-room night nighttime dawn dusk sunset sunrise "
    "twilight morning evening afternoon midnight noon winter summer autumn fall spring rain snowfall fog mist storm "
    "thunderstorm snowstorm blizzard sandstorm drizzle sunlight moonlight starlight daylight halloween christmas "
    "horizon aurora heaven hell neighborhood neighbourhood district suburb metropolis slum bazaar rooftop pool "
    "canvas scenery terrain environment world setting scene area place region interior exterior wall battlefield "
    "crossroads intersection tunnel oasis dune range race-track racetrack runway boardwalk pier dock waterfront "
    "lobby balcony terrace porch patio greenhouse aquarium zoo circus carnival fair chapel monastery dojo workshop "
    "bookshop locker-room courtroom boxing-ring abbey cellar cove fjord glade swamp bog gorge ravine crater abyss "
    "underworld wasteland lounge foyer vestibule pantry nursery dormitory auditorium parlor parlour saloon cinema "
    "penthouse shipyard quarry helipad rink ski-resort precinct waterhole mesa lane nave breakwater hail sleet steppe "
    "taiga heath moorland fen bayou atoll archipelago estuary headland boulevard promenade esplanade quay wharf marina "
    "atrium veranda cloister crypt campsite campground concourse motorway freeway hinterland outback marshland paddock "
    "arboretum fairground racecourse hamlet"
)
# nouns that are scenery after one of SCENE_PREPOSITIONS and things elsewhere
PLACE_NOUNS = word_set(
    "water grass snow sand ice floor flooring stage table surface ground river lake pond stream creek waterfall "
    "bridge house cabin cottage castle palace temple church cathedral tower building skyscraper tree trees cloud "
    "clouds mud leaves rock rocks stone bed sofa couch desk countertop counter bench stairs staircase roof deck "
    "path trail track railway bus train car boat ship spaceship cockpit grassland wave waves fire smoke flower "
    "flowers sunflower puddle darkness shadows tent campfire fireplace window ruin ruins volcano crowd traffic "
    "dust bush bamboo wheat corn spotlight windowsill shelf rug carpet tiles pavement cobblestone hut barn mill "
    "lighthouse fence throne pillow cushion podium pedestal ceiling nightstand mattress hammock stool tabletop "
    "workbench altar anvil ledge sill iceberg floe stump catwalk ramp embankment treetop chimney crosswalk "
    "driveway route jetty trampoline dresser mantelpiece canal brook viaduct aqueduct overpass ditch curb kerb "
    "doorstep doormat parapet rampart scaffolding plinth dais sideboard cabinet bookcase ridge slope peak summit lawn "
    "campus stair tray blanket escalator elevator aisle doorway gutter "
    "roundabout underpass sandbar moor copse thicket hedge corral kennel coop nest den lair burrow tomb mausoleum "
    "convent resort chamber hall closet"
)
SCENE_PREPOSITIONS = word_set(
    "over on in at through across under beneath beside by near along inside within into onto against above below "
    "around before behind amid amidst among amongst between upon beyond outside during past toward towards atop"
)

# "a field with stripes" is a striped field
PATTERN_NOUNS = {
    **dict.fromkeys(("stripe", "stripes", "band", "bands"), "striped"),
    **dict.fromkeys(("bar", "bars"), "barred"),
    **dict.fromkeys(("check", "checks"), "checkered"),
    **dict.fromkeys(("dot", "dots", "spots"), "dotted"),
}
PATTERN_DIRECTIONS = word_set("horizontal vertical diagonal thin thick wide narrow fine bold")

# garments, vessels and parts of bodies: who is "in" one is in no place
CLOTHES = word_set(
    "dress suit coat jacket raincoat uniform armor armour costume hat cap helmet hood hoodie robe gown kimono shirt "
    "t-shirt tshirt blouse sweater jumper vest skirt jeans pants trousers shorts bikini swimsuit lingerie underwear "
    "tuxedo apron cloak cape mask glasses sunglasses boots shoes sneakers socks gloves scarf tie bowtie tutu sari "
    "pajamas pyjamas outfit clothes clothing attire garb wear makeup leather silk denim lace latex spacesuit crown wig "
    "veil turban tunic toga overalls onesie pyjama robes garments dresses suits uniforms costumes kilt poncho "
    "stockings heels chains handcuffs bandages rags jewelry jewellery camouflage pant leotard dhoti kurta saree "
    "cardigan blazer kaftan sarong corset dungarees jumpsuit bodysuit hanbok qipao cheongsam yukata trenchcoat parka "
    "anorak waistcoat turtleneck pullover bra negligee stocking chador hijab niqab abaya burqa fez beret beanie "
    "balaclava bandana pajama nightgown wetsuit catsuit romper breeches pantsuit tracksuit sweatpants sweatshirt "
    "undershirt camisole doublet jerkin cassock shawl sash cummerbund lehenga salwar sherwani dashiki dirndl "
    "lederhosen"
)
CONTAINERS = word_set(
    "bowl cup teacup mug glass bottle jar box bag basket bucket pan pot oven fridge refrigerator cage bathtub tub "
    "plate dish pail tray basin vase can tin barrel crate suitcase backpack pocket drawer microwave mirror cradle crib "
    "wheelchair chair armchair stroller sphere bubble ball ring circle circles line row group pair team crowd pile "
    "sack envelope notebook book diary journal frame lens microscope telescope goggles"
)
BODY_PARTS = word_set(
    "hand finger thumb arm elbow shoulder leg knee foot toe head face eye eyebrow eyelash ear nose mouth lip tooth "
    "tongue chin cheek neck chest breast belly stomach waist hip back skin hair beard mustache moustache fist palm "
    "wrist ankle heel nail fingernail forehead brow jaw throat spine lap body torso butt bum muscle vein bone paw "
    "tail claw fur feather wing mane snout beak whisker horn hoof scale fang thigh"
)
# places that the general list lacks; after "in", "inside" or "at" most other nouns are places as well
MORE_PLACES = word_set(
    "helipad loft cell manor cove study precinct bistro abbey castle cellar attic bunker lounge tavern inn hotel "
    "motel casino laboratory clinic prison jail mansion villa apartment flat penthouse house home cottage cabin "
    "church mosque cathedral temple shrine palace tower fortress barn stable shed greenhouse warehouse hangar "
    "cockpit arcade spaceport gateway clearing glade grove swamp bog fjord gorge ravine crater cosmodrome shipyard "
    "quarry mine kingdom realm dimension void abyss underworld pyramid sanctuary monastery pagoda amphitheater "
    "colosseum boardwalk speakeasy parlor parlour salon saloon foyer vestibule pantry nursery dormitory auditorium "
    "cinema theatre opera subway metro platform bus-stop garage parking-lot rink court pitch racetrack velodrome spa "
    "sauna jacuzzi harbor forge smithy brewery distillery winery foundry sawmill gazebo pavilion bandstand teahouse "
    "treehouse igloo yurt bungalow chalet lodge hostel bathhouse boathouse farmhouse"
)
# after "in" or "at" these are no places either
NOT_PLACES = (
    CLOTHES
    | CONTAINERS
    | BODY_PARTS
    | word_set(
        "love anger fear pain joy awe shock silence color colour colors colours style motion hand hands arms eyes "
        "mouth party meeting conversation battle war fight love trance dream dreams memory mind imagination camera "
        "sun moon star stars target screen formation position pose shape form shapes unison harmony sync detail "
        "cinema language english gold silver chess football soccer basketball tennis poker game match race show play "
        "movie film story tree trees flower flowers dog cat man woman girl boy child people person baby audience "
        "viewer friend enemy monster dragon bird fish horse food soup sauce milk coffee tea pizza hair beard smile "
        "tears thought prayer order control charge need search honor honour celebration fashion bloom flight action "
        "tow disguise flames loop speed angle distance moment time century year day end beginning once rest peace "
        "work least"
    )
)
DURATIONS = word_set("second seconds sec minute minutes hour hours")
INSIDE = word_set("in inside at within throughout across outside")
AIMS = word_set(
    "look looks looking looked stare stares staring gaze gazes gazing glance glances point points pointing smile "
    "smiles smiling wave waves waving laugh laughs laughing shoot shoots shooting throw throws throwing yell yells "
    "yelling shout shouts shouting scream screams screaming aim aims aiming wink winks bark barks barking peek peeks "
    "growl growls growling hiss hisses hissing snarl snarls snarling nod nods nodding swing swings swinging peck pecks"
)
# they carry no picture: a match of these alone is no hit
GENERIC = word_set(
    "person people human somebody character figure friend companion enemy creature animal being individual guy "
    "someone crowd group family couple stranger member citizen folk thing object item element shape form structure "
    "material substance detail part piece model design symbol sign word letter text title logo caption message "
    "name number world environment scene place area setting background landscape image view light shadow reflection "
    "color colour line pattern texture life air wind breeze surface ground body adult male female opening "
    "人 人们 人物 角色 朋友 东西 动物 手 脸 眼睛 头 头发 身体 表情"
)
# bare, one of them is anybody
PERSONS = word_set(
    "man woman boy girl lady gentleman kid child baby teenager teen guy men women wife husband mother father mom dad "
    "son daughter brother sister girlfriend boyfriend dude 男人 女人 男孩 女孩 孩子"
)
# beside PERSONS and words in -man, -woman: a colour before them is that of the skin, one that they are in is worn;
# not who is told by clothes: a black knight, a white nun
SOMEBODY = word_set(
    "person people figure someone somebody anybody everyone everybody human couple stranger dancer singer musician "
    "artist painter teacher student farmer doctor nurse chef driver player actor actress model athlete runner boxer "
    "guitarist pianist violinist drummer cyclist skater skier surfer swimmer gymnast acrobat writer reader "
    "worker waiter waitress tourist hiker jogger passenger pedestrian performer rapper scientist lawyer"
)
ABSTRACT = word_set(
    "expression emotion smile gaze look glance stare grin frown laugh laughter tear voice scream whisper breath "
    "thought idea dream memory hope happiness joy love fear anger sadness sorrow pain peace harmony freedom power "
    "strength energy force spirit soul mind imagination mystery magic wonder beauty grace elegance innocence courage "
    "bravery death destiny fate adventure journey battle war fight struggle conflict event party celebration moment "
    "memory story tale legend history future past present time century era age weight size speed movement gesture "
    "pose posture step motion action activity work task job game sport music song sound noise silence melody rhythm "
    "smell taste touch temperature heat cold warmth knowledge wisdom truth secret plan purpose meaning style fashion "
    "culture tradition nature weather season health success failure victory defeat attention help support care trust "
    "respect"
)

# seen only where something describes them: "mystical energy"
SEEN_WHEN_DESCRIBED = word_set("energy magic power life wonder aura")
# nobody sees these, however they are described: feelings, ideas, measures, sounds, doings; no entity
UNSEEN = word_set(
    "clash roar nap hz fairytale yoga trip pushup homicide "
    "font ai none test january february december monday tuesday wednesday thursday friday saturday sunday hello hi "
    "hey goodbye bye wow claim way tone era teamwork income poem poetry longing oh death math mathematics techno "
    "reggae hip-hop dubstep edm interview hypnosis kitsch psychedelia chic swag clout hype wanderlust karma gameplay "
    "viewpoint vantage hope joy sorrow freedom courage bravery knowledge wisdom truth destiny fate luck success "
    "failure victory mystery grace strength soul mind purpose meaning culture history future past present heritage "
    "health wealth help support care trust respect love fear anger peace harmony nostalgia solitude message thought "
    "memory topic surprise disbelief boredom understanding problem reason need want wish desire advice story tale "
    "music sound song noise voice melody tune volume echo size weight amount level rate ratio percentage age number "
    "depth demise birth trade exchange challenge spin technique strategy skill talent effort habit aim role rule "
    "lesson trend value price cost profit benefit impact advantage progress growth change shift loss gain risk danger "
    "threat panic despair grief agony misery rage fury hate hatred envy jealousy guilt shame pride lust greed faith "
    "belief doubt honor honour glory fame mercy revenge justice liberty approach aspect basis context factor issue "
    "matter state status increase decrease rise try go bloom unison sync stealth haste hurry ease comfort pleasure "
    "delight bliss ecstasy theory logic fun glam philosophy politics economy sake behalf favor favour start finish "
    "summary answer response reply demand command promise vow secret lie rumor gossip joke humor humour irony sarcasm "
    "wit charm charisma potential limit extent half rest remainder mayhem havoc suspense drama adventure thrill "
    "relief regret remorse sympathy empathy loyalty honesty discipline rebellion temperature warmth taste smell scent "
    "touch opinion attitude behavior behaviour routine procedure protocol policy guideline government service law "
    "cause program term interest society career release choice offer percent pain safety damage duty trial loan "
    "budget credit debt tax vote fee fund funding analysis approval backup bid breach bonus boost category census "
    "certainty clause closure commerce complaint compromise concern consensus consent conspiracy contempt controversy "
    "copyright coverage crisis criteria custody deadline debate debut decline deficit delay denial dialogue "
    "difficulty dilemma diplomacy disadvantage disclosure discount discourse disgrace dislike disorder dispute "
    "doctrine dread ego emphasis endeavor enthusiasm error esteem estimate excuse exile expense expertise fatigue "
    "feat feedback fortune fraud gender genesis gist gratitude grammar guarantee harm hint hobby hypothesis impulse "
    "incentive initiative injustice input inquiry insight instinct insult intake intent interval jargon lack language "
    "latitude legacy leisure leverage lifestyle likelihood literacy literature magnitude mandate marketing merit "
    "metaphor method mindset misconduct mistake momentum monopoly morale mortgage motive motto neglect nonsense norm "
    "oath objective odds onset origin outcome outlook output outrage outset overview pact parole phase phenomenon "
    "plea pledge plot practice precedent prejudice pressure prestige principle privacy privilege prophecy proposal "
    "prospect prose pursuit query quota rationale referendum refusal regard regime reminder removal renewal "
    "repertoire research restraint revenue revival rhetoric rivalry scenario scandal scope scrutiny semester setback "
    "shortage slang sovereignty specialty spite stamina statistics stereotype stigma stimulus strain stress supremacy "
    "survival suspicion symptom syndrome synthesis tempo tenure testimony theorem therapy thesis tragedy trait "
    "treason turmoil turnover tyranny upbringing urge usage verdict virtue vocabulary welfare willpower workload "
    "worth wrath zeal anatomy synesthesia accuracy ache acumen adequacy adhd aerodynamics aeronautics alchemy algebra "
    "algorithm allergy allure alternative amnesia anaesthesia analogy anarchy anesthesia aneurysm angina angst "
    "anguish anorexia antipathy apathy apnea appetite aptitude arithmetic arrhythmia arthritis artistry asthma "
    "astronomy asymmetry autonomy avail bane bankruptcy bigotry biochemistry bloodlust bondage boon bravado brawn "
    "bronchitis brunt bulimia camaraderie candor caprice carcinoma celibacy chagrin chaos chill chivalry cholera "
    "cirrhosis citizenship climate colitis composure cough cowardice craftsmanship craze credo cryptography cunning "
    "curvature daydream daze deadlock dearth decorum defect delirium demeanor demeanour dementia demography "
    "dermatitis deterrent diabetes diarrhea diarrhoea disarray discomfort discontent disease disgust dishonesty "
    "dishonor dishonour dismay displeasure disregard disrepair distaste distress distrust downside drawback dream "
    "duress dysentery dyslexia dystrophy eczema efficacy emphysema encephalitis endometriosis ennui entropy epilepsy "
    "ethnography ethos eugenics euphoria eyesight fad fallacy fervor fervour finesse flavor flavour flaw folklore "
    "folly foresight fortitude frailty fright gallantry genomics geometry geopolitics glamour glaucoma glee gonorrhea "
    "gout grandeur grudge guesswork guile gusto haemorrhage handicap headache heartache heartbreak heartburn "
    "hemorrhage hepatitis heresy hernia hindsight homeostasis homophobia hubris hunch hunger hygiene hypothermia "
    "hypoxia hysteria idiocy illiteracy immediacy inaccuracy inadequacy ineptitude infamy influenza insomnia intimacy "
    "intricacy intrigue ire irk jaundice jeopardy kinetics kingship kinship knack legitimacy leprosy leukaemia "
    "leukemia libido lore lunacy lustre luxury lymphoma malaise malaria malice manhood mania mastery maths matrimony "
    "measles melancholy melanoma meningitis metallurgy mettle migraine milieu mismatch misogyny mistrust modesty "
    "monogamy monotony muddle mumps mystique nausea neuropathy nirvana normalcy oblivion obstetrics oceanography odor "
    "odour onus orthodoxy osteoporosis overkill pang paranoia partisanship peeve penchant pep percentile peril "
    "personhood phenotype phobia physics plethora pneumonia posture poverty prerequisite prerogative primacy prowess "
    "psoriasis psychiatry psychosis psychotherapy ptsd qualm rabies rapport rapture regimen renown retrospect rigor "
    "rote schizophrenia sclerosis scoliosis scorn scurvy secrecy sepsis servitude shortfall slavery slumber smallpox "
    "solace spondylitis sportsmanship standpoint stardom stasis stature stench strife stupor stutter suffrage surplus "
    "symbiosis syphilis tact tactic temper tetanus therapeutics thirst thrombosis tinnitus toothache trauma treachery "
    "trigonometry truce tuberculosis tumult uncertainty unease unrest valor valour vertigo verve vice vigor vigour "
    "vogue wavelength wedlock whim whimsy woe workmanship xenophobia yearning zeitgeist zen zest acclaim account "
    "accounting acquittal acronym adjective adultery advent advocacy alias alimony allegory altitude amnesty "
    "amplitude anecdote anniversary antithesis apartheid appeal appraisal archetype aroma assent asset attribute "
    "audit axiom backlash ban bandwidth banter bargain bargaining benchmark bet betrayal bidding billing blunder "
    "borrowing boycott breakthrough breakup breathing bribery briefing bullshit calculus caliber calorie candidacy "
    "caveat censorship centennial charge cheating chore choreography cliche clue coaching coding coefficient coercion "
    "collateral combat comeback commentary comparison compendium complexion conditioning conduct conjecture conquest "
    "continuum contracting counseling courtship covenant craving crime criterion crossover cruelty cue curfew "
    "cybernetics deal decay deceit decimal decree default defense degree denominator descent diagnosis dialect "
    "dieting disapproval disclaimer discovery dismissal disposal disrespect dissent disservice ditto dividend divorce "
    "doctorate dogma doom downtime downturn dynamics economics edict editing endeavour epidemic epiphany episode "
    "epitome epoch equilibrium equivalent escrow espionage ethic etiquette eulogy expenditure extension falsehood "
    "fanfare felony feud flair forecast forecasting foreclosure forfeiture framework function genocide geography "
    "goodwill gospel grant guardianship halftime handling hassle healing healthcare hearsay heyday hiatus homage "
    "homicide horsepower hue hyperbole hypocrisy identifier idiom incident indicator inkling innuendo intellect "
    "interplay iq juncture lawsuit leakage lease lending lexicon liaison libel lifetime lingo liturgy livelihood "
    "mainstream malpractice mapping matchmaking mealtime medicare menace menopause merger metamorphosis mileage "
    "mischief misdemeanor misfortune misunderstanding misuse mockery monitoring moratorium myth narrative nickname "
    "nomenclature noun novelty offense offset ordeal outage outbreak outburst outcry overhaul overlap oversight "
    "overtime overuse pairing pandemic parable paradigm paradox paralysis parameter parody pastime pause payback "
    "payday payroll peacetime pension period perjury piracy planning playtime plenty plight ploy polynomial premium "
    "pretense pretext pricing processing prognosis programming project pronoun proof propaganda proverb puberty pun "
    "rating reasoning recourse recovery reflex reform refund reign reissue relapse remark repeal report reproach "
    "resource respite retrieval return reversal rhyme ridicule rundown rush sabotage saga salary satire schedule "
    "scheduling schema scheme scholarship score self sequel session shock shorthand shutdown sin software "
    "spectroscopy spelling spending splendor sponsorship stalemate startup statistic statute storyline subsidy "
    "subtlety sum surcharge surge surname surrender swap swearing symmetry synergy synopsis takeover tally tariff "
    "terror timetable tomorrow trading travesty tribute trickery trimester trouble turnaround tweet ultimatum "
    "undertaking upheaval upkeep uproar vendetta venture verb vernacular vowel wage waiver warfare warning warranty "
    "wartime weekday weekend wellbeing wording worship wrongdoing yesterday "
    "affair aftermath ages antics aperture ascent bias bounty bribe bustle campaign characteristics climax "
    "conflict countdown creed data database deed discharge ending english entrepreneurship errand errands escape "
    "event exercise famine flashback genetics glimpse greeting hearing housing internet journey labor labour "
    "lapse mankind measure meditating mix mixture networking persona phenomena pose praise premise quarrel "
    "rebirth religion renderer reunion science search series shutterspeed speech stuff suffering superpower "
    "surgery surrounding takeoff talk task teaching tech tour travel travels trick uplift uptrend visit voyage "
    "win workout worry worrying"
)
# of them, things in the plural
SEEN_IN_PLURAL = word_set("presents souls charms tastes minds")
# the same by their end, but for those that a picture shows
ABSTRACT_ENDS = (
    "ness",
    "phobia",
    "ity",
    "ism",
    "tion",
    "sion",
    "ment",
    "ance",
    "ence",
    "ology",
    "cracy",
    "ency",
    "ancy",
    "iety",
    "onship",
    "dship",
    "ership",
    "lhood",
    "dhood",
    "thood",
    "rhood",
    "ibility",
    "ability",
)
SEEN_ALL_THE_SAME = word_set(
    "witness eyewitness harness wilderness baroness lioness governess darkness likeness business city university "
    "community facility celebrity deity entity electricity cavity fraternity sorority mechanism organism prism "
    "baptism station construction constellation plantation vegetation intersection section decoration illustration "
    "ammunition population reception lotion potion junction exhibition celebration convention expedition eruption "
    "explosion reflection collection corporation demonstration carnation auction congregation installation foundation "
    "invention creation formation excavation projection attraction inscription civilization federation nation "
    "reservation competition bastion partition medication pollution television mansion procession collision dimension "
    "illusion percussion apparition hallucination transformation portion concoction substation workstation "
    "playstation fortification ration extraction irrigation simulation constitution institution organization "
    "delegation commission mission fusion infection incarnation abomination contraption mutation animation department "
    "document apartment instrument element equipment monument basement pavement cement regiment garment compartment "
    "ornament parchment fragment tournament settlement parliament environment experiment arrangement enhancement "
    "attachment segment armament sacrament firmament implement supplement vestment tenement encampment battlement "
    "embankment pigment sediment establishment ligament casement testament advertisement ambulance entrance fence "
    "audience dance performance residence conference lance appliance seance substance renaissance science ordnance "
    "conveyance currency agency pregnancy constituency residency presidency leadership ownership dealership "
    "neighborhood neighbourhood brotherhood aristocracy"
)

# style: one word each
STYLE_WORDS = word_set(
    "ecu cinematic photorealistic photorealism realistic hyperrealistic hyper-realistic hyperrealism ultrarealistic "
    "ultra-realistic surrealistic surrealism impressionism cubism hd uhd fhd qhd 4k 8k 2k 16k 5k 6k 12k 1080p "
    "720p 2160p 480p 60fps 30fps 24fps 120fps 24p fps imax hdr 3d 2d cgi vfx timelapse time-lapse hyperlapse "
    "slow-motion slowmo slow-mo slomo closeup close-up bokeh cartoon cartoonish anime manga claymation "
    "stop-motion pixar ghibli disney dreamworks octane unreal blender watercolor watercolour sketch monochrome "
    "black-and-white grayscale sepia vhs polaroid kodak arri panavision 35mm 70mm 16mm 50mm 85mm 8mm film-grain "
    "grainy lo-fi low-poly lowpoly voxel pixel-art pixelart steadicam handheld gopro fpv pov tracking panning "
    "zoom zoom-in zoom-out zoomed pan tilt dolly macro telephoto fisheye wide-angle ultra-wide overhead top-down "
    "birds-eye bird's-eye eye-level low-angle high-angle aerial cel-shaded vaporwave synthwave artstation "
    "trending masterpiece award-winning highres high-res ultrahd ultra-hd high-quality high-definition "
    "high-resolution highly-detailed ultra-detailed hyperdetailed hyper-detailed detailed intricate sharp-focus "
    "raytracing ray-traced raytraced volumetric loop looping seamless stylized footage photoreal lifelike "
    "animated photographic photograph photography filmed fullhd epic hyper ultra render rendered rendering "
    "storyboard b-roll cinematography cinematographic cinematics noir film-noir technicolor ukiyo-e rotoscoped "
    "chiaroscuro lofi portrait wideshot drone"
)
# style: longest first wins
STYLE_PHRASES = (
    *("video game", "horror game", "computer game"),
    *(
        "self portrait",
        "key shot",
        "key art",
        "key frame",
        "key visual",
        "chroma key",
        "low key",
        "high key",
        "key light",
    ),
    "worm's eye view",
    "fish eye",
    "fish eye lens",
    "eye level",
    "over the shoulder",
    "over the shoulder shot",
    "dutch angle",
    "live action",
    "hand held",
    "hand drawn style",
    "very realistic",
    "super realistic",
    "realistic style",
    "best quality",
    "worst quality",
    "low quality",
    "high detail",
    "high details",
    "ultra high definition",
    "ultra high quality",
    "4k resolution",
    "8k resolution",
    "8 bit",
    "16 bit",
    "camera shake",
    "shaky camera",
    "camera movement",
    "camera angle",
    "camera view",
    "top down",
    "top view",
    "side view",
    "front view",
    "full body",
    "full body shot",
    "upper body",
    "half body",
    "medium shot",
    "full shot",
    "wide shot",
    "long shot",
    "studio lighting",
    "cinematic lighting",
    "volumetric light",
    "god rays",
    "matte painting",
    "digital painting",
    "acrylic painting",
    "comic book",
    "comic book style",
    "line drawing",
    "charcoal drawing",
    "3 d",
    "2 d",
    "4 d",
    "anamorphic lens",
    "35 mm",
    "slow motion",
    "super slow motion",
    "depth of field",
    "shallow depth of field",
    "shallow focus",
    "deep focus",
    "soft focus",
    "sharp focus",
    "rack focus",
    "in focus",
    "out of focus",
    "time lapse",
    "stop motion",
    "close up",
    "extreme close up",
    "extreme close-up",
    "wide angle",
    "low angle",
    "high angle",
    "bird's eye view",
    "birds eye view",
    "bird's-eye view",
    "point of view",
    "first person view",
    "first person",
    "third person",
    "black and white",
    "film grain",
    "golden hour",
    "oil painting",
    "oil on canvas",
    "water color",
    "watercolor painting",
    "pencil sketch",
    "pencil drawing",
    "pixel art",
    "concept art",
    "digital art",
    "line art",
    "vector art",
    "studio ghibli",
    "unreal engine",
    "unreal engine 5",
    "octane render",
    "cinema 4d",
    "ray tracing",
    "lens flare",
    "motion blur",
    "high quality",
    "best quality",
    "high definition",
    "high resolution",
    "full hd",
    "ultra hd",
    "4 k",
    "8 k",
    "highly detailed",
    "ultra detailed",
    "super detailed",
    "extremely detailed",
    "very detailed",
    "ultra realistic",
    "hyper realistic",
    "highly realistic",
    "frames per second",
    "vivid colors",
    "vibrant colors",
    "warm colors",
    "muted colors",
    "pastel colors",
    "warm tones",
    "cool tones",
    "color grading",
    "trending on artstation",
    "award winning",
    "one take",
    "long take",
    "long exposure",
    "double exposure",
    "tilt shift",
    "split screen",
    "found footage",
    "music video",
    "stock footage",
    "stock video",
    "home video",
    "national geographic",
    "blurred background",
    "blurry background",
    "zoom in",
    "zoom out",
    "zooms in",
    "zooms out",
    "zooming in",
    "zooming out",
    "pan left",
    "pan right",
    "pans left",
    "pans right",
    "dolly zoom",
    "film noir",
    "low poly",
    "cel shading",
    "art deco",
    "pop art",
    "van gogh",
    "wes anderson",
    "tim burton",
    "camera moves",
    "camera rotates",
    "camera follows",
    "camera pans",
    "camera zooms",
    "camera tracks",
    "moving camera",
    "static camera",
    "high contrast",
    "soft light",
    "dramatic light",
    "natural light",
    "rim light",
    "neon light style",
    "video game",
)
# a phrase that ends in one of these is style as a whole: "wide drone shot", "dramatic lighting"
STYLE_HEADS = word_set(
    "portraits shot shots footage view views viewpoint closeup close-up lighting angle angles perspective render "
    "rendering quality resolution photography photo photograph video videos clip clips animation animations style "
    "styles aesthetic aesthetics cinematography timelapse time-lapse hyperlapse zoom fps videography focus exposure "
    "lens film movie trailer documentary commercial advertisement ad picture image images illustration artwork art "
    "painting drawing sketch sequence cut intro montage vlog texture textures tones hues palette colour-grading "
    "colors colours graphics composition visuals recording footages realism cinema effects shoot screenshot "
    "screenshots photoshoot design designs genre theme filter filters shading linework brushwork brushstrokes "
    "illumination fanart saturation contrast wallpaper rendition cosplay imagery animatic animatics animations comics "
    "manga reenactment re-enactment representation depiction portrayal interpretation visualization visualisation "
    "scetch sketching pic pics gif vids vfx b-roll timelapse slideshow panorama close-ups tutorial review "
    "documentaries cartoons reel teaser promo ads commercials advertising advert adverts infomercial sitcom "
    "telenovela footages motion-graphics sculpt cg backlighting resolutions dof lut"
)
# of the style words, those that also describe things: "cartoon, a dog" against "a cartoon dog"
AMBIGUOUS_STYLE_WORDS = word_set(
    "black-and-white animated aerial tracking overhead macro loop pan tilt epic sketch blender photograph "
    "intricate render "
    "cartoon photography gopro disney drone zoom filmed realistic grainy dolly lifelike seamless storyboard"
)
# verbs as they stand in captions; forms in -s, -ing and -ed are made from these
VERBS = word_set(
    "comfort add approach arrive ascend attack balance bake bark bathe battle beat become begin bend bite blink bloom "
    "blow boil bounce break breathe bring build burn burst buy call capture carry cast catch celebrate change charge "
    "chase cheer chew chop circle clean climb clap close collide come contain cook cover crash crawl create cross cry "
    "curl cut dance depict descend dig dive drag draw drift drink drive drizzle drop eat emerge emit enjoy enter "
    "examine exit expand explode explore express face fall feature feed fight fill finish fix flap float flow flutter "
    "fly fold follow form gallop gather gaze get give glide glisten glow go grab graze greet grin grow hang hatch "
    "have head heal help hide hike hit hold hop hover howl hug hunt inspect jog jump juggle keep kick kiss knead "
    "kneel knit land laugh lay lead leap leave let lick lie lift light-up listen look make march meander meditate "
    "meet melt merge mix morph move nap nod open orbit paddle paint pan parade park pass peek peel perch perform pet "
    "pick play plunge point pose pour practice pray press preen prepare pull push put race rain raise reach read "
    "reflect relax release rest reveal ride rise roam roar roast roll rotate row ruin rumble run rush sail salute "
    "save say scamper scan scream sculpt see seem serve set shake share shatter shine shoot shout show sing sip sit "
    "skate skateboard skim sketch ski sleep slice slide smile smoke sneak sneeze sniff snow soar solve sparkle speak "
    "spin splash spread sprint sprout squeeze stack stand stare start stir stop stretch stroll strum struggle study "
    "surf surround sway sweep swim swing swirl take talk taste teach tell think throw tie toss tower trace train "
    "transform travel trot try tumble turn twinkle twirl twist type unfold unfurl unroll use wade wag wait wake walk "
    "wander wash watch water wave wear weave welcome whisper wield wink work wrap write yawn yell zoom dash drill "
    "erupt evolve explain flicker grill kayak parachute pedal plant ripple shimmer ship skydive snowboard snorkel "
    "spray stride tap traverse whirl blast illuminate inhabit lean lounge navigate overlook resemble scurry trickle "
    "weep bow bob cascade cradle crumble drum flip flee gleam giggle hammer hurl mend speed flash loom mow nibble "
    "patrol patter pluck pounce prance prowl recline sizzle slither snuggle stomp strut stumble swoop tend trail "
    "trudge usher vanish wobble wrestle zip shed spill drape adjust swallow animate include destroy promote discover "
    "sacrifice reload drown crush smash lurk haunt admire adore appear disappear observe perceive brainstorm interact "
    "participate accept achieve adopt allow announce apply arrange ask assemble attach attend avoid awaken banish "
    "beckon beg behave belong betray bless borrow bother breed bump choose chew clutch collapse collide collect "
    "combine compare compete complete confront connect conquer consider consume continue convert convince count cower "
    "crack create crouch decide declare decorate defeat defend deliver demolish deny depart describe deserve despise "
    "detect develop devour die disintegrate dissolve distribute divide drown educate elevate embrace embark encounter "
    "encourage engage engulf enhance ensure envision escape establish evade exhale exist expect extend fade fetch "
    "flourish forget forgive frolic fuse gasp generate giggle grasp grind groom guide handle happen harvest heave "
    "hesitate hurry ignite imagine imitate improve insert inspire instruct introduce invade invite involve join "
    "kidnap kill kneel lack learn lean linger litter load locate lose love lower lunge maintain manage manipulate "
    "marvel migrate mingle mourn multiply munch murder obey occur offer operate overtake own penetrate persuade "
    "pledge plead plot ponder possess prefer pretend prevent proceed produce protect prove provide punish purchase "
    "pursue quit react realize receive recognize refuse regret rejoice remain remember remove repair repeat represent "
    "require rescue respond retreat retrieve return reunite rip rob roar rush satisfy scatter seek select sell send "
    "separate settle shiver shrink shrug sink smear smell sob soak spawn spit squat startle steal sting stray strike "
    "strive submerge succeed suck suffer suggest summon surrender survive swap swear swipe symbolize threaten thrive "
    "thunder tiptoe tremble trap treat trick unleash unlock uncover understand unveil upset visit wince witness "
    "wonder worship yearn zigzag "
    "order knock lock pump polish hire marry bury trim shave scrub weigh install execute steer rebuild forge "
    "poke dodge pierce creep absorb choke bleed shove lure occupy salvage accompany command rinse pack "
    "unpack sew stitch mop vacuum shovel wipe sharpen whisk fry iron weld applaud clash spar duel levitate "
    "scuttle slink stalk hobble waddle wiggle nuzzle hiss growl meow purr chirp croak bellow hoot squawk buzz "
    "swarm rake haul lug sift dangle ooze spew puff loiter bicker argue nag flirt salsa pirouette "
    "sunbathe doze snore yank tow toil wring rappel sled toboggan ambush besiege interrogate arrest handcuff "
    "evacuate bulldoze excavate unearth dissect inject flood overflow extinguish douse sprinkle scoop ladle "
    "garnish marinate season brew peddle haggle barter auction unload refuel hijack"
)
# of the above, also everyday nouns: a verb only where the words around them say so
VERBS_OR_NOUNS = word_set(
    "exchange comfort drink wave light fall fire rock star cloud flower sail ship train plant paint water park face "
    "form smoke snow rain row tower ruin stack land ring ride race swing slide walk run dance dive fight play march "
    "jump roll splash shower bloom blow bow drum trail spray cast set cut circle head ski skate kiss hug orbit study "
    "work cook call house color bubble shadow spring tie sketch drill cascade point turn charge press shot hike smile "
    "look show guard battle pet storm catch bite slice pose ripple hammer speed flash leave cover bark beat watch "
    "blast pan paddle feature kick zip drop attempt tap dash punch scratch stab slap crash chase hunt grin frown leap "
    "sprint stroll crawl wink claw shake increase drift crack escape return love ship guide ripple trap trick treat "
    "visit witness thunder strike shrug smell toast return own harvest count load escape bump plot sob stray "
    "order knock lock pump command iron mop growl hiss buzz swarm clash duel vacuum shovel rake puff stitch "
    "track stand chop lead parade patrol lounge perch hatch "
    "salsa tow sled ambush arrest handcuff flood ladle scoop season brew auction stalk lure polish trim pack box"
)
# who does things: "man waves", against "ocean waves"
ANIMATE = word_set(
    "man woman boy girl child kid person lady gentleman guy baby toddler teenager teen dog cat puppy kitten bear "
    "panda bird horse cow pig monkey gorilla elephant lion tiger wolf fox rabbit bunny mouse rat squirrel raccoon "
    "otter duck robot android astronaut wizard witch knight warrior soldier ninja samurai pirate king queen "
    "prince princess dragon monster zombie alien chef doctor dancer singer musician artist painter teacher "
    "student farmer fisherman cowboy policeman officer driver pilot player surfer skater skier couple mother "
    "father mom dad son daughter grandmother grandfather grandma grandpa brother sister friend family hero "
    "superhero angel fairy santa butterfly eagle owl parrot penguin dolphin whale shark turtle frog spider snail "
    "crab octopus corgi husky"
)
# somebody from there, where no noun stands behind: ", italian with scary masks"
PEOPLES = word_set("italian russian indian mexican african american european asian egyptian german roman arab hindu")
# a day of these is weather or a time of the year: a scene
DAYS = word_set(
    "sunny rainy cloudy foggy misty stormy windy snowy hot cold warm bright clear gloomy overcast grey gray summer "
    "winter spring autumn christmas halloween wedding market"
)
# before "horses", "a guitar" ... the action, never a description: "riding horses"
TRANSITIVE_ING = word_set(
    "breathing channeling channelling summoning collecting performing conducting blowing wiping uploading brandishing "
    "promoting injuring destroying transcending casting attacking defeating greeting admiring observing inspecting "
    "presenting visiting delivering discovering discussing enjoying escaping protecting rescuing ringing serving "
    "teaching riding eating holding wearing playing drinking making chasing carrying watching reading driving cooking "
    "looking using having doing taking giving throwing catching pouring painting drawing building fighting feeding "
    "washing cutting kneading chopping hugging kissing petting showing featuring depicting crossing entering leaving "
    "exploring climbing hunting picking planting repairing opening closing pulling pushing lifting getting putting "
    "writing reviewing studying selling buying kicking hitting shooting licking cleaning brushing stirring mixing "
    "baking shaving spreading peeling grilling slicing frying boiling sewing knitting folding wrapping polishing "
    "facing overlooking surrounding covering filling wielding casting creating becoming being going"
)
# before a noun always a description: "a led gaming plate"
ATTRIBUTIVE_ING = word_set(
    "cycling mining gaming engineering coworking dining parking recording shopping bowling boxing wrestling "
    "manufacturing publishing swimming hiking camping skiing surfing sporting wedding teaching nursing banking "
    "marketing"
)
# nouns that describe even before an adjective: "a cartoon mexican child", "a porcelain old woman"
MODIFIER_NOUNS = word_set(
    "bleach strawberry honey cartoon anime lego neon porcelain platinum pixel velvet silk leather marble wool cotton "
    "chrome plastic clay crystal gold silver bronze copper steel iron stone concrete brick glass paper cardboard "
    "origami"
)
# words in -ing that make one thing with the noun behind them, whoever does what before: "skipping rope"
ING_COMPOUNDS = frozenset(
    tuple(pair.split())
    for pair in (
        *("skipping rope", "jumping rope", "swimming pool", "swimming suit", "bathing suit", "washing machine"),
        *("sewing machine", "rocking chair", "frying pan", "cooking pot", "fishing boat", "fishing rod", "fishing net"),
        *("fishing line", "fishing village", "sleeping bag", "walking stick", "skating rink", "ice-skating rink"),
        *("knitting needle", "drawing board", "operating room", "operating table", "waiting room", "dressing room"),
        *(
            "changing room",
            "meeting room",
            "training ground",
            "training camp",
            "racing car",
            "racing track",
            "racing bike",
        ),
        *(
            "driving licence",
            "mining town",
            "learning engineer",
            "drinking fountain",
            "cutting board",
            "chopping board",
        ),
        *(
            "baking tray",
            "baking sheet",
            "ironing board",
            "diving board",
            "landing pad",
            "landing strip",
            "landing gear",
        ),
        *(
            "flying saucer",
            "flying carpet",
            "punching bag",
            "sailing ship",
            "sailing boat",
            "rowing boat",
            "hiking boot",
        ),
        *(
            "hiking trail",
            "walking cane",
            "steering wheel",
            "spinning wheel",
            "spinning top",
            "rolling pin",
            "shaving cream",
        ),
        *(
            "chewing gum",
            "sewing needle",
            "hunting lodge",
            "hunting dog",
            "running shoe",
            "dancing shoe",
            "living being",
        ),
        *(
            "living room",
            "living space",
            "melting pot",
            "filing cabinet",
            "fitting room",
            "dining room",
            "reading glasses",
        ),
        *("vending machine", "loading screen", "loading dock", "charging station", "mining rig", "tanning bed"),
        *("writing desk", "wishing well", "shooting star", "shooting range", "polling station", "pressing machine"),
    )
)
# words in -ing that are things
ING_NOUNS = word_set(
    "building buildings ceiling painting lightning evening morning wedding clothing ring king spring string wing "
    "thing sling swing railing dumpling duckling sibling darling pudding earring awning herring sterling pangolin "
    "viking gosling starling sapling seedling stocking offering crossing clearing landing-strip flooring bedding "
    "lighting topping icing frosting setting opening carving engraving skyscraping outing "
    "offspring shilling farthing booking briefing greeting gathering marking housing coating tubing scaffolding"
)
# words that the lexicon does not know, or knows as something else
ADJECTIVES = word_set(
    "close epic cyberpunk steampunk futuristic holographic checkered checked striped dotted spotted barred plain cute "
    "fluffy "
    "adorable cozy surreal mystical magical enchanted glowing bioluminescent snowy rainy sunny cloudy foggy misty "
    "starry stormy windy icy sandy rocky grassy mossy rusty dusty muddy wooden woolen golden medieval viking "
    "victorian gothic majestic lush serene vibrant colorful colourful tiny giant gigantic mini miniature medium "
    "teal turquoise crimson scarlet azure maroon beige magenta cyan violet lavender emerald ginger tabby pastel "
    "metallic chrome translucent transparent shiny sparkly furry hairy bearded blonde brunette elderly teenage "
    "young old little female male lone abandoned deserted haunted post-apocalyptic apocalyptic dystopian utopian "
    "retro vintage antique rustic banded bare solid tropical arctic abstract minimalist geometric humanoid "
    "robotic mechanical anthropomorphic chibi kawaii low-lit dimly-lit moonlit sunlit candlelit neon-lit bustling "
    "trippy eerie surrealist psychedelic triadic icelandic decaying rainbow chinese japanese korean indian african "
    "american european british english french german italian spanish "
    "russian greek roman egyptian mexican arabic arab turkish asian thai persian scottish irish nordic norse celtic "
    "crowded empty quiet calm busy dark bright steaming red blue green yellow orange purple pink brown black "
    "white grey gray silver gold large small big huge tall short iced sliced grilled fried baked roasted molten "
    "frozen torn broken wounded injured wild stray spiral chubby plump "
    "messy grungy multicolor multicolour multicolored multicoloured symmetric symmetrical"
)
# words that the lexicon reads as verbs or names, and that are things in prompts
NOUNS = word_set(
    "bulldog titanic asteroid siren clownfish halfling corgi panda koala axolotl capybara otter kitten kittens puppy "
    "husky dachshund poodle chihuahua labrador retriever astronaut cosmonaut spaceship starship ufo robot cyborg "
    "android mecha drone hologram skyscraper wizard witch ninja samurai knight viking pirate mermaid unicorn dragon "
    "dinosaur t-rex zombie vampire werewolf superhero batman spiderman superman selfie smartphone laptop skateboard "
    "snowboard surfboard hoverboard guitar ukulele saxophone sushi ramen pizza taco burger cupcake latte espresso "
    "cappuccino croissant avocado boba sunset sunrise dusk dawn neon skyline cityscape seascape reef coral jellyfish "
    "seahorse octopus stingray butterfly hummingbird flamingo peacock toucan macaw chameleon gecko iguana hedgehog "
    "raccoon meerkat sloth lemur triangle square circle cross star hexagon pentagon diamond rectangle oval heart "
    "stripe stripes bar bars dots mosaic rose roses saw bear duck fly fan crane bat seal swallow lead hybrid fractal "
    "human giant tear wind bow ski mouse fish deer sheep liquid plus box block wedge pyramid disc ball key rainbow"
)
# after a noun they make a description of it: "heart shaped box", "ring tailed lemur"
SUFFIX_ADJECTIVES = word_set(
    "knitted embroidered shaped colored coloured tailed haired eyed themed legged winged faced skinned sized looking "
    "filled covered lit made like inspired clad headed horned armed nosed based accented infused powered driven lined "
    "infested soaked drenched encrusted studded capped topped plated wrapped shaded tinted toned scented flavored "
    "flavoured furred feathered scaled bodied hearted carved knit woven drawn carrying wielding bearing"
)
# "knee high socks"
MEASURED = word_set("high deep length")
# plurals that stand before a noun: "sports car"
PLURAL_MODIFIERS = word_set(
    "sports arms clothes goods games graphics electronics news savings fireworks jeans glasses woods"
)
# how much: no phrase keeps them either, though "dimly lit" keeps its adverb
DEGREES = word_set(
    "extremely highly incredibly insanely heavily slightly really absolutely totally utterly exceptionally "
    "extraordinarily exceedingly immensely remarkably particularly especially fairly truly hugely intensely equally "
    "terribly overly unusually"
)
# adverbs and fillers that no phrase keeps
ADVERBS = word_set(
    "very really extremely highly super quite so too just also slowly quickly gently softly brightly left right "
    "up down away together around forward forwards backward backwards upward upwards downward downwards back "
    "uh um re indoors outdoors onstage offstage backstage ashore offshore aboard midair "
    "inward inwards outward outwards outside inside upstairs downstairs overhead here there still again almost fully "
    "beautifully elegantly "
    "gracefully leftward leftwards rightward rightwards sideways diagonally freely happily peacefully"
)
FUNCTION_TAGS: dict[str, str] = {
    **dict.fromkeys(("a", "an", "the", "this", "these", "those", "some", "any", "no", "every", "each"), "DT"),
    **dict.fromkeys(("its", "his", "her", "their", "my", "your", "our"), "PRP$"),
    **dict.fromkeys(("it", "he", "she", "they", "him", "them", "i", "you", "we", "us", "itself", "himself"), "PRP"),
    **dict.fromkeys(("herself", "themselves", "each-other", "eachother", "myself", "yourself", "ourselves"), "PRP"),
    **dict.fromkeys(("theres", "heres", "thats", "whats", "hes", "shes", "whos", "youre", "theyre", "im"), "PRP"),
    **dict.fromkeys(("own",), "DT"),
    **dict.fromkeys(("more", "less", "most", "least"), "RB"),
    **dict.fromkeys(("and", "or", "but", "nor", "&", "+"), "CC"),
    **dict.fromkeys(("is", "are", "was", "were", "be", "been", "being", "am", "has", "have", "had", "does"), "VB"),
    **dict.fromkeys(("cant", "wont", "dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "couldnt", "wouldnt"), "VB"),
    **dict.fromkeys(("might", "shall", "cannot"), "VB"),
    **dict.fromkeys(("do", "did", "can", "will", "would", "could", "should", "may", "must"), "VB"),
    **dict.fromkeys(
        ("who", "that", "which", "what", "where", "when", "while", "as", "because", "if", "than", "then"), "WRB"
    ),
    **dict.fromkeys(
        (
            "of",
            "with",
            "without",
            "from",
            "for",
            "to",
            "off",
            "like",
            "via",
            "per",
            "until",
            "thru",
            "infront",
            "inside",
            "vs",
            "versus",
            "w/",
            "ontop",
        ),
        "IN",
    ),
    **dict.fromkeys(("made", "seen", "standing", "sitting"), "VB"),
    **dict.fromkeys(SCENE_PREPOSITIONS, "IN"),
}

# people whose names are made of ordinary words, as they stand in lower case
PEOPLE = frozenset(
    tuple(name.split())
    for name in (
        *("osama bin laden", "bin laden", "kanye west", "taylor swift", "will smith", "jack black", "snoop dogg"),
        *("snoop doggy dog", "post malone", "walt disney", "megan fox", "steve jobs", "sean bean"),
        *("orlando bloom", "jack sparrow", "walter white", "jude law", "emma stone", "rob zombie", "alice cooper"),
        *("james bond", "harry styles", "freddie mercury", "bruno mars", "chris rock", "frank ocean", "neil armstrong"),
        *(
            "lana del rey",
            "tony stark",
            "solid snake",
            "master chief",
            "han solo",
            "boba fett",
            "mr bean",
            "captain america",
        ),
        *(
            "iron man",
            "the rock",
            "dwayne the rock johnson",
            "ryan gosling",
            "jason momoa",
            "james brown",
            "grace kelly",
        ),
        *("bill gates", "george bush", "george washington", "kate bush", "kate moss", "tiger woods", "ben stiller"),
        *("elizabeth banks", "christian bale", "tom holland", "tom cruise", "tom hardy", "matt damon", "brad pitt"),
        *("woody allen", "johnny cash", "stevie wonder", "janelle monae", "bob ross", "bob dylan", "van damme"),
        *(
            "gordon freeman",
            "morgan freeman",
            "gordon ramsay",
            "justin bieber",
            "miley cyrus",
            "ice spice",
            "lady gaga",
        ),
        *("lady bird", "billie eilish", "george floyd", "britney spears", "rick ross", "young thug", "drew barrymore"),
        *(
            "doctor strange",
            "optimus prime",
            "buzz lightyear",
            "patrick star",
            "peppa pig",
            "poison ivy",
            "green goblin",
            "doctor who",
            "black widow",
            "black panther",
            "wonder woman",
            "captain marvel",
            "silver surfer",
            "green lantern",
        ),
        *("bugs bunny", "donald duck", "mickey mouse", "minnie mouse", "daffy duck", "homer simpson", "bart simpson"),
        *("peter pan", "peter parker", "bruce wayne", "clark kent", "harry potter", "ron weasley", "indiana jones"),
        *("sherlock holmes", "king kong", "princess peach", "princess leia", "sonic the hedgehog", "winnie the pooh"),
        *(
            "thomas the tank engine",
            "popeye the sailor",
            "popeye the sailor man",
            "conan the barbarian",
            "kermit the frog",
        ),
        *(
            "dora the explorer",
            "bob the builder",
            "felix the cat",
            "oscar the grouch",
            "jabba the hutt",
            "attila the hun",
        ),
        *("alexander the great", "ivan the terrible", "john the baptist", "gandalf the grey", "gandalf the white"),
    )
)

PEOPLE_BY_FIRST_WORD = {first: [name for name in PEOPLE if name[0] == first] for first, *_ in PEOPLE}

# short or rare words as people misspell them, and with the article behind them
SLIPS: dict[str, str] = _groups(
    **{
        "with": "whit wiht iwth wtih wth whith witha withthe",
        "from": "fron frm",
        "in": "ina inthe inthis",
        "on": "ona onthe",
        "of": "ofa ofthe",
        "at": "atthe",
        "and": "amd adn andthe",
        "the": "teh hte thw",
        "among": "amoung amoungst",
        "between": "betwen beetween",
        "through": "trough throught throgh thru",
        "across": "accross",
        "behind": "behing",
        "symmetric": "symetric simetric",
        "translucent": "translucid",
        "beautiful": "beautifull",
        "weird": "wierd",
        "intricate": "ntricate",
    }
)
# one word that people write as two
SPLIT_WORDS: dict[tuple[str, str], str] = {
    ("bull", "dog"): "bulldog",
    ("ray", "traced"): "raytraced",
    ("ray", "tracing"): "raytracing",
    ("pony", "tail"): "ponytail",
    ("pony", "tails"): "ponytails",
    ("push", "ups"): "pushups",
    ("high", "tech"): "high-tech",
    ("photo", "real"): "photoreal",
    ("sun", "roof"): "sunroof",
    ("fly", "overs"): "flyovers",
    ("multi", "color"): "multicolor",
    ("multi", "colour"): "multicolour",
    ("multi", "colored"): "multicolored",
    ("multi", "coloured"): "multicoloured",
    ("art", "station"): "artstation",
    ("a", "n"): "an",
    ("hi", "tech"): "hi-tech",
    ("space", "ships"): "spaceships",
    ("sun", "set"): "sunset",
    ("sun", "rise"): "sunrise",
    ("back", "ground"): "background",
    ("back", "round"): "background",
    ("pop", "corn"): "popcorn",
    ("dash", "board"): "dashboard",
    ("story", "board"): "storyboard",
    ("space", "ship"): "spaceship",
    ("space", "craft"): "spacecraft",
    ("sky", "scraper"): "skyscraper",
    ("sky", "scrapers"): "skyscrapers",
    ("rain", "bow"): "rainbow",
    ("rain", "forest"): "rainforest",
    ("butter", "fly"): "butterfly",
    ("grand", "mother"): "grandmother",
    ("grand", "father"): "grandfather",
    ("super", "hero"): "superhero",
    ("super", "heroes"): "superheroes",
    ("super", "market"): "supermarket",
    ("sun", "flower"): "sunflower",
    ("sun", "flowers"): "sunflowers",
    ("sun", "light"): "sunlight",
    ("moon", "light"): "moonlight",
    ("day", "light"): "daylight",
    ("star", "light"): "starlight",
    ("foot", "ball"): "football",
    ("basket", "ball"): "basketball",
    ("class", "room"): "classroom",
    ("bed", "room"): "bedroom",
    ("bath", "room"): "bathroom",
    ("court", "yard"): "courtyard",
    ("play", "ground"): "playground",
    ("farm", "land"): "farmland",
    ("grass", "land"): "grassland",
    ("water", "falls"): "waterfalls",
    ("sea", "shore"): "seashore",
    ("snow", "flakes"): "snowflakes",
    ("mush", "room"): "mushroom",
    ("dragon", "fly"): "dragonfly",
    ("jelly", "fish"): "jellyfish",
    ("jelly", "fishes"): "jellyfishes",
    ("wild", "life"): "wildlife",
    ("key", "board"): "keyboard",
    ("skate", "board"): "skateboard",
    ("stick", "man"): "stickman",
    ("spider", "man"): "spiderman",
    ("bat", "man"): "batman",
    ("super", "man"): "superman",
    ("cow", "boy"): "cowboy",
    ("fire", "works"): "fireworks",
    ("fire", "man"): "fireman",
    ("police", "man"): "policeman",
    ("business", "man"): "businessman",
    ("fisher", "man"): "fisherman",
    ("house", "wife"): "housewife",
    ("news", "paper"): "newspaper",
    ("note", "book"): "notebook",
    ("some", "one"): "someone",
    ("every", "one"): "everyone",
    ("any", "one"): "anyone",
    ("him", "self"): "himself",
    ("her", "self"): "herself",
    ("his", "self"): "himself",
    ("it", "self"): "itself",
    ("each", "other"): "each-other",
    ("each", "others"): "each-other",
    ("over", "head"): "overhead",
    ("water", "colour"): "watercolour",
    ("black", "smith"): "blacksmith",
    ("gentle", "man"): "gentleman",
    ("super", "girl"): "supergirl",
    ("under", "water"): "underwater",
    ("river", "side"): "riverside",
    ("road", "side"): "roadside",
    ("sea", "side"): "seaside",
    ("lake", "side"): "lakeside",
    ("country", "side"): "countryside",
    ("hill", "side"): "hillside",
    ("mountain", "side"): "mountainside",
    ("down", "town"): "downtown",
    ("market", "place"): "marketplace",
    ("fire", "place"): "fireplace",
    ("work", "place"): "workplace",
    ("wheel", "chair"): "wheelchair",
    ("house", "maid"): "housemaid",
}

# what would name nothing by its last word alone: the milky way, a tank top, new year
KEPT_PAIRS = frozenset(
    tuple(pair.split())
    for pair in (
        *("parking lot", "parking lots", "vacant lot", "vacant lots"),
        *("milky way", "new year", "new years", "tank top", "tank tops", "halter top", "crop top", "crop tops"),
        *(
            "tube top",
            "wild west",
            "middle east",
            "far east",
            "north korea",
            "south korea",
            "steve jobs",
            "steven jobs",
        ),
        *("spinning top", "big top", "hill top", "roof top", "mountain top", "mountain tops", "roof tops", "tree tops"),
        *(
            "body part",
            "body parts",
            "human being",
            "human beings",
            "living being",
            "living beings",
            "hot air",
            "boxing day",
            "key words",
        ),
    )
)

# names written with "of"; with capitals they are found by rule
OF_NAMES = word_set(
    "statue-of-liberty queen-of-england tower-of-london tower-of-pisa "
    "king-of-england bird-of-paradise birds-of-paradise cup-of-tea-party "
    "gulf-of-mexico knights-of-the-round-table arc-de-triomphe great-wall-of-china "
    "leaning-tower-of-pisa garden-of-eden lily-of-the-valley jack-of-all-trades bird-of-prey birds-of-prey "
    "maid-of-honour maid-of-honor man-of-war men-of-war joan-of-arc helen-of-troy lawrence-of-arabia tower-of-babel "
    "tree-of-life fountain-of-youth wheel-of-fortune hall-of-mirrors chest-of-drawers coat-of-arms star-of-david "
    "queen-of-hearts king-of-hearts jack-of-hearts ace-of-spades ace-of-hearts man-of-steel mother-of-pearl "
    "beast-of-burden beasts-of-burden lady-of-the-lake isle-of-skye isle-of-man cape-of-good-hope "
)

# words that end in s in the singular or have none
_UNCHANGED = word_set(
    "aires angeles orleans cyprus maldives philippines hermes hercules thanos socrates achilles aquarius sagittarius "
    "jones williams davis adams simpsons mercedes rolls mars sherlock holmes columbus marcus julius magnus uranus "
    "honduras bahamas andes gladiolus tetris chris iris ares artemis anubis osiris horus apis alps "
    "bus glass dress grass class moss cross compass princess goddess waitress actress mistress fortress mattress "
    "lens canvas atlas christmas cactus octopus circus campus virus walrus hippopotamus platypus crocus lotus "
    "iris oasis gas brass chess business boss albatross mars venus texas paris las vegas kansas jesus chaos "
    "series species news jeans pants trousers shorts glasses sunglasses scissors headphones goggles stairs "
    "clothes pyjamas pajamas tennis gymnastics physics politics molasses mess bass kiss abyss colosseum cosmos "
    "breeches woods bonus genius fungus hibiscus stylus sinus pegasus zeus ruins darkness wilderness loss press stress "
    "process success access express jess ross james thomas chris athens wales netherlands"
)
# and plurals that the rules get wrong
SINGULARS: dict[str, str] = {
    **{word: word for word in _UNCHANGED},
    **{
        "buses": "bus",
        "thieves": "thief",
        "busses": "bus",
        "dresses": "dress",
        "classes": "class",
        "grasses": "grass",
        "crosses": "cross",
        "princesses": "princess",
        "goddesses": "goddess",
        "fortresses": "fortress",
        "lenses": "lens",
        "cacti": "cactus",
        "octopuses": "octopus",
        "circuses": "circus",
        "walruses": "walrus",
        "viruses": "virus",
        "oases": "oasis",
        "people": "person",
        "peoples": "person",
        "persons": "person",
        "men": "man",
        "women": "woman",
        "children": "child",
        "kids": "kid",
        "feet": "foot",
        "teeth": "tooth",
        "geese": "goose",
        "mice": "mouse",
        "leaves": "leaf",
        "wolves": "wolf",
        "knives": "knife",
        "shelves": "shelf",
        "elves": "elf",
        "dwarves": "dwarf",
        "hooves": "hoof",
        "scarves": "scarf",
        "loaves": "loaf",
        "wives": "wife",
        "lives": "life",
        "waves": "wave",
        "caves": "cave",
        "gloves": "glove",
        "olives": "olive",
        "cookies": "cookie",
        "zombies": "zombie",
        "pixies": "pixie",
        "movies": "movie",
        "selfies": "selfie",
        "ties": "tie",
        "pies": "pie",
        "potatoes": "potato",
        "tomatoes": "tomato",
        "heroes": "hero",
        "superheroes": "superhero",
        "volcanoes": "volcano",
        "tornadoes": "tornado",
        "mangoes": "mango",
        "shoes": "shoe",
        "horseshoes": "horseshoe",
        "canoes": "canoe",
        "axes": "axe",
        "horses": "horse",
        "houses": "house",
        "roses": "rose",
        "noses": "nose",
        "vases": "vase",
        "bases": "base",
        "faces": "face",
        "pieces": "piece",
        "dice": "die",
        "bubbles": "bubble",
        "nebulae": "nebula",
        "antennae": "antenna",
        "larvae": "larva",
        "formulae": "formula",
        "media": "media",
        "data": "data",
    },
}

# the commonest words of other languages that are no English words, to tell that a prompt is not English
FOREIGN = word_set(
    "el la los las del una uno unos por con para que en sobre entre y su sus al es está como muy bajo junto hacia "
    "desde der das und ein eine einen einem einer mit auf im ist den dem des über unter vor nach zwei von durch "
    "für zum zur le les du une et dans sur avec est au aux sous qui pour devant vers deux ses il lo gli di che "
    "nel nella della dello sul sulla tra verso sono um uma com em do da dos na nos nas pelo pela sob ao ou een "
    "het op met van naar bij w nad pod przez się jest ve bir için ile och på med ett som og i"
) - word_set("a i on at an as in or do to la")
ENGLISH = word_set(
    "a an the of in on at with and is are to over by from through into up down his her its their this that while as"
)

# words that people often misspell in prompts, beside those of the lists above
COMMON = word_set(
    "beautiful camera character background mountain astronaut butterfly elephant giraffe dolphin penguin kangaroo "
    "crocodile spaceship building restaurant waterfall umbrella bicycle motorcycle helicopter airplane landscape "
    "girl woman child people warrior soldier princess monster creature skeleton lightning explosion fireworks "
    "balloon chocolate strawberry sandwich guitar piano violin trumpet basketball football skateboard snowboard "
    "diamond triangle rectangle square circle purple yellow orange green forest desert ocean beach island village "
    "castle bridge garden flower sunflower tree rabbit squirrel monkey leopard cheetah tiger lion horse puppy "
    "kitten dinosaur dragon wizard knight samurai robot computer telephone elderly gorgeous mysterious ancient "
    "futuristic walking running dancing flying swimming jumping standing sitting driving looking holding wearing"
)
