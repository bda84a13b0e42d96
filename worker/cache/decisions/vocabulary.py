"""Word lists of the entity extractor and of the matching rule, written for text-to-video prompts.

Plain data: to teach the extractor a word, add it to the list whose comment fits it.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _groups(**synonyms: str) -> dict[str, str]:
    return {word: name for name, words in synonyms.items() for word in words.split()}


# Words of one group that mean different things cannot both be true of one thing. Synonyms share a value.
CONFLICT_GROUPS: dict[str, dict[str, str]] = {
    "colour": _groups(
        red="red crimson scarlet ruby maroon",
        blue="blue navy azure cobalt sapphire",
        green="green emerald lime olive",
        yellow="yellow lemon mustard gold golden",
        orange="orange amber tangerine",
        purple="purple violet lavender magenta",
        pink="pink rose",
        brown="brown chestnut tan beige",
        black="black ebony jet-black",
        white="white ivory snow-white",
        grey="grey gray",
        silver="silver",
        turquoise="turquoise teal cyan aqua",
    ),
    "size": _groups(
        small="small tiny little miniature mini petite minuscule",
        medium="medium medium-sized",
        large="large big huge giant gigantic enormous massive colossal oversized",
    ),
    "age": _groups(
        young="young teenage youthful newborn baby toddler",
        middle="middle-aged",
        old="old elderly aged ancient senior aging",
        modern="modern new brand-new futuristic",
    ),
    "number": _groups(
        one="one single lone solitary",
        two="two 2 both",
        three="three 3",
        four="four 4",
        five="five 5",
        six="six 6",
        seven="seven 7",
        eight="eight 8",
        nine="nine 9",
        ten="ten 10",
        dozen="dozen twelve 12",
        many="many several few some multiple numerous various countless hundreds thousands dozens hundred thousand",
    ),
    "pattern": _groups(
        plain="plain solid uniform bare",
        striped="striped stripy banded",
        barred="barred",
        checkered="checkered checked checkerboard chequered",
        dotted="dotted spotted polka-dot",
    ),
}

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
)

COUNTS = frozenset(CONFLICT_GROUPS["number"]) | _words("hundred thousand million another other every each")

# "a herd of elephants" is about elephants
QUANTIFIERS = _words(
    "group groups pair pairs couple herd flock bunch lot lots variety series row rows stack piece pieces number "
    "swarm hundreds thousands dozens millions kind kinds type types sort sorts set array collection multitude "
    "handful range cluster clusters pack plenty crowd trail dozen bit part parts heap trio crew gang slice slices"
)

# nouns that point at a place in the frame or at nothing: never an entity
EMPTY_NOUNS = _words(
    "foreground middle center centre left right top bottom front back side sides edge distance end beginning "
    "thing things something someone somebody anyone everybody everyone nothing everything one ones other others "
    "lot camera cameras lens viewer frame screen-left subject subjects example time times job jobs concept moment "
    "moments second seconds minute minutes hour hours day today year years word words name idea sense air midair "
    "up down north south east west direction directions circles detail details feature features element elements "
    "effect effects version part parts kind type use look front-view action motion movement speed pace rhythm "
    "atmosphere mood vibe feeling feel ambiance ambience emotion emotions beauty majesty essence tranquility "
    "serenity sight testament contrast work life chance attempt addition process manner fashion case fact order "
    "turn result focus duration"
)
# empty unless something describes them: "on a checkered purple background" is a scene, "in the background" is not
EMPTY_WHEN_BARE = _words(
    "object background backdrop scene setting area place region day way light image surface ground environment "
    "landscape world"
)

# nouns that name a place, weather or a time of day wherever they stand
SCENE_NOUNS = _words(
    "field background backdrop floor ground carpet beach street forest city desert ocean sea sky park meadow "
    "jungle woods wood countryside village town downtown skyline cityscape landscape seascape coast coastline "
    "shore shoreline seaside riverbank lakeside mountain mountainside mountaintop valley canyon cliff hill "
    "hillside hilltop plain prairie savanna savannah tundra swamp marsh glacier island lagoon bay harbor harbour "
    "port reef seabed underwater cave cavern kitchen bedroom bathroom room living-room classroom office library "
    "museum gallery hospital school hallway corridor basement attic garage warehouse factory laboratory lab "
    "studio theater theatre stadium arena gym gymnasium restaurant cafe café bar pub nightclub diner bakery "
    "market marketplace supermarket mall shop store airport station subway alley alleyway road highway avenue "
    "sidewalk plaza courtyard garden backyard yard farm barnyard ranch vineyard orchard playground cemetery "
    "graveyard ruins temple-interior space outer-space galaxy universe cosmos planet nebula orbit moonscape mars "
    "wilderness nature rainforest woodland grassland pasture wasteland dungeon ballroom throne-room night "
    "nighttime dawn dusk sunset sunrise twilight morning evening afternoon midnight noon winter summer autumn "
    "fall spring rain snowfall fog mist storm thunderstorm snowstorm blizzard sandstorm drizzle sunlight "
    "moonlight starlight daylight halloween christmas horizon aurora heaven hell neighborhood neighbourhood "
    "district suburb metropolis slum bazaar rooftop pool canvas scenery terrain environment world setting scene "
    "area place region interior exterior wall battlefield crossroads intersection tunnel oasis dune range "
    "race-track racetrack runway boardwalk pier dock waterfront lobby balcony terrace porch patio greenhouse "
    "aquarium zoo circus carnival fair chapel monastery dojo workshop bookshop locker-room courtroom boxing-ring "
    "tokyo paris london york manhattan venice rome egypt japan china india africa hawaii dubai moscow"
)
# nouns that are scenery after one of SCENE_PREPOSITIONS and things elsewhere
PLACE_NOUNS = _words(
    "water grass snow sand ice floor flooring stage table surface ground river lake pond stream creek waterfall "
    "bridge house cabin cottage castle palace temple church cathedral tower building skyscraper tree trees cloud "
    "clouds mud leaves rock rocks stone bed sofa couch desk countertop counter bench stairs staircase roof deck "
    "path trail track railway bus train car boat ship spaceship cockpit grassland wave waves fire smoke flower "
    "flowers sunflower puddle darkness shadows tent campfire fireplace window ruin ruins volcano crowd traffic "
    "dust bush bamboo wheat corn spotlight windowsill shelf rug carpet tiles pavement cobblestone hut barn mill "
    "lighthouse"
)
SCENE_PREPOSITIONS = _words(
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
PATTERN_DIRECTIONS = _words("horizontal vertical diagonal thin thick wide narrow fine bold")

# style: one word each
STYLE_WORDS = _words(
    "cinematic photorealistic photorealism realistic hyperrealistic hyper-realistic hyperrealism ultrarealistic "
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
STYLE_HEADS = _words(
    "shot shots footage view views viewpoint closeup close-up lighting angle angles perspective render rendering "
    "quality resolution photography photo photograph video videos clip clips animation animations style styles "
    "aesthetic aesthetics cinematography timelapse time-lapse hyperlapse zoom fps videography focus exposure lens "
    "film movie trailer documentary commercial advertisement ad picture image images illustration artwork art "
    "painting drawing sketch sequence cut intro montage vlog texture textures tones hues palette colour-grading "
    "colors colours graphics composition visuals recording footages realism cinema effects shoot"
)
# of the style words, those that also describe things: "cartoon, a dog" against "a cartoon dog"
AMBIGUOUS_STYLE_WORDS = _words(
    "animated aerial tracking overhead macro loop pan tilt epic sketch blender photograph detailed intricate render "
    "cartoon photography gopro disney drone zoom polaroid filmed realistic grainy dolly lifelike seamless storyboard"
)
# verbs as they stand in captions; forms in -s, -ing and -ed are made from these
VERBS = _words(
    "add approach arrive ascend attack balance bake bark bathe battle beat become begin bend bite blink bloom "
    "blow boil bounce break breathe bring build burn burst buy call capture carry cast catch celebrate change "
    "charge chase cheer chew chop circle clean climb clap close collide come contain cook cover crash crawl "
    "create cross cry curl cut dance depict descend dig dive drag draw drift drink drive drizzle drop eat emerge "
    "emit enjoy enter examine exit expand explode explore express face fall feature feed fight fill finish fix "
    "flap float flow flutter fly fold follow form gallop gather gaze get give glide glisten glow go grab graze "
    "greet grin grow hang hatch have head heal help hide hike hit hold hop hover howl hug hunt inspect jog jump "
    "juggle keep kick kiss knead kneel knit land laugh lay lead leap leave let lick lie lift light-up listen look "
    "make march meander meditate meet melt merge mix morph move nap nod open orbit paddle paint pan parade park "
    "pass peek peel perch perform pet pick play plunge point pose pour practice pray press preen prepare pull "
    "push put race rain raise reach read reflect relax release rest reveal ride rise roam roar roast roll rotate "
    "row ruin rumble run rush sail salute save say scamper scan scream sculpt see seem serve set shake share "
    "shatter shine shoot shout show sing sip sit skate skateboard skim sketch ski sleep slice slide smile smoke "
    "sneak sneeze sniff snow soar solve sparkle speak spin splash spread sprint sprout squeeze stack stand stare "
    "start stir stop stretch stroll strum struggle study surf surround sway sweep swim swing swirl take talk "
    "taste teach tell think throw tie toss tower trace train transform travel trot try tumble turn twinkle twirl "
    "twist type unfold unfurl unroll use wade wag wait wake walk wander wash watch water wave wear weave welcome "
    "whisper wield wink work wrap write yawn yell zoom dash drill erupt evolve explain flicker grill kayak "
    "parachute pedal plant ripple shimmer ship skydive snowboard snorkel spray stride tap traverse whirl blast "
    "illuminate inhabit lean lounge navigate overlook resemble scurry trickle weep bow bob cascade cradle crumble "
    "drum flip flee gleam giggle hammer hurl mend speed flash loom mow nibble patrol patter pluck pounce prance "
    "prowl recline sizzle slither snuggle stomp strut stumble swoop tend trail trudge usher vanish wobble wrestle "
    "zip shed spill drape adjust swallow"
)
# of the above, also everyday nouns: a verb only where the words around them say so
VERBS_OR_NOUNS = _words(
    "drink wave light fall fire rock star cloud flower sail ship train plant paint water park face form smoke "
    "snow rain row tower ruin stack land ring ride race swing slide walk run dance dive fight play march jump "
    "roll splash shower bloom blow bow drum trail spray cast set cut circle head ski skate kiss hug orbit study "
    "work cook call house color bubble shadow spring tie sketch drill cascade point turn charge press shot hike "
    "smile look show guard battle pet storm catch bite slice pose ripple hammer speed flash leave cover bark beat "
    "blast pan paddle feature kick zip"
)
# who does things: "man waves", against "ocean waves"
ANIMATE = _words(
    "man woman boy girl child kid person lady gentleman guy baby toddler teenager teen dog cat puppy kitten bear "
    "panda bird horse cow pig monkey gorilla elephant lion tiger wolf fox rabbit bunny mouse rat squirrel raccoon "
    "otter duck robot android astronaut wizard witch knight warrior soldier ninja samurai pirate king queen "
    "prince princess dragon monster zombie alien chef doctor dancer singer musician artist painter teacher "
    "student farmer fisherman cowboy policeman officer driver pilot player surfer skater skier couple mother "
    "father mom dad son daughter grandmother grandfather grandma grandpa brother sister friend family hero "
    "superhero angel fairy santa butterfly eagle owl parrot penguin dolphin whale shark turtle frog spider snail "
    "crab octopus corgi husky"
)
# before "horses", "a guitar" ... the action, never a description: "riding horses"
TRANSITIVE_ING = _words(
    "riding eating holding wearing playing drinking making chasing carrying watching reading driving cooking "
    "looking using having doing taking giving throwing catching pouring painting drawing building fighting "
    "feeding washing cutting kneading chopping hugging kissing petting showing featuring depicting crossing "
    "entering leaving exploring climbing hunting picking planting repairing opening closing pulling pushing "
    "lifting getting putting writing reviewing studying selling buying kicking hitting shooting licking cleaning "
    "brushing stirring mixing baking shaving spreading peeling grilling slicing frying boiling sewing knitting "
    "folding wrapping polishing facing overlooking surrounding covering filling wielding casting creating "
    "becoming being going"
)
# words in -ing that are things
ING_NOUNS = _words(
    "building buildings ceiling painting lightning evening morning wedding clothing ring king spring string wing "
    "thing sling swing railing dumpling duckling sibling darling pudding earring awning herring sterling pangolin "
    "viking gosling starling sapling seedling stocking offering crossing clearing landing-strip flooring bedding "
    "lighting topping icing frosting setting opening carving engraving boxing wrestling shopping skyscraping"
)
# words that the lexicon does not know, or knows as something else
ADJECTIVES = _words(
    "cyberpunk steampunk futuristic holographic checkered checked striped dotted spotted barred plain fluffy cute "
    "adorable cozy surreal mystical magical enchanted glowing bioluminescent snowy rainy sunny cloudy foggy misty "
    "starry stormy windy icy sandy rocky grassy mossy rusty dusty muddy wooden woolen golden medieval viking "
    "victorian gothic majestic lush serene vibrant colorful colourful tiny giant gigantic mini miniature medium "
    "teal turquoise crimson scarlet azure maroon beige magenta cyan violet lavender emerald ginger tabby pastel "
    "metallic chrome translucent transparent shiny sparkly furry hairy bearded blonde brunette elderly teenage "
    "young old little female male lone abandoned deserted haunted post-apocalyptic apocalyptic dystopian utopian "
    "retro vintage antique rustic banded bare solid tropical arctic abstract minimalist geometric humanoid "
    "robotic mechanical anthropomorphic chibi kawaii low-lit dimly-lit moonlit sunlit candlelit neon-lit bustling "
    "crowded empty quiet calm busy dark bright steaming red blue green yellow orange purple pink brown black "
    "white grey gray silver gold large small big huge tall short iced sliced grilled fried baked roasted molten "
    "frozen torn broken wounded injured wild stray spiral chubby plump"
)
# words that the lexicon reads as verbs or names, and that are things in prompts
NOUNS = _words(
    "corgi panda koala axolotl capybara otter kitten kittens puppy husky dachshund poodle chihuahua labrador "
    "retriever astronaut cosmonaut spaceship starship ufo robot cyborg android mecha drone hologram skyscraper "
    "wizard witch ninja samurai knight viking pirate mermaid unicorn dragon dinosaur t-rex zombie vampire "
    "werewolf superhero batman spiderman superman selfie smartphone laptop skateboard snowboard surfboard "
    "hoverboard guitar ukulele saxophone sushi ramen pizza taco burger cupcake latte espresso cappuccino "
    "croissant avocado boba sunset sunrise dusk dawn neon skyline cityscape seascape reef coral jellyfish "
    "seahorse octopus stingray butterfly hummingbird flamingo peacock toucan macaw chameleon gecko iguana "
    "hedgehog raccoon meerkat sloth lemur triangle square circle cross star hexagon pentagon diamond rectangle "
    "oval heart stripe stripes bar bars dots mosaic rose roses saw bear duck fly fan crane bat seal swallow lead "
    "tear wind bow ski mouse fish deer sheep liquid plus box block wedge pyramid disc ball"
)
# after a noun they make a description of it: "heart shaped box", "ring tailed lemur"
SUFFIX_ADJECTIVES = _words(
    "shaped colored coloured tailed haired eyed themed legged winged faced skinned sized looking filled covered "
    "lit made like inspired clad headed horned armed nosed"
)
# plurals that stand before a noun: "sports car"
PLURAL_MODIFIERS = _words(
    "sports arms clothes goods games graphics electronics news savings fireworks jeans glasses woods"
)
# adverbs and fillers that no phrase keeps
ADVERBS = _words(
    "very really extremely highly super quite so too just also slowly quickly gently softly brightly left right "
    "up down away together around forward forwards backward backwards upward upwards downward downwards back "
    "outside inside upstairs downstairs overhead here there still again almost fully beautifully elegantly "
    "gracefully leftward leftwards rightward rightwards sideways diagonally freely happily peacefully"
)
FUNCTION_TAGS: dict[str, str] = {
    **dict.fromkeys(("a", "an", "the", "this", "these", "those", "some", "any", "no", "every", "each"), "DT"),
    **dict.fromkeys(("its", "his", "her", "their", "my", "your", "our"), "PRP$"),
    **dict.fromkeys(("it", "he", "she", "they", "him", "them", "i", "you", "we", "us", "itself", "himself"), "PRP"),
    **dict.fromkeys(("herself", "themselves", "each-other", "myself", "yourself", "ourselves"), "PRP"),
    **dict.fromkeys(("and", "or", "but", "nor", "&", "+"), "CC"),
    **dict.fromkeys(("is", "are", "was", "were", "be", "been", "being", "am", "has", "have", "had", "does"), "VB"),
    **dict.fromkeys(("do", "did", "can", "will", "would", "could", "should", "may", "must"), "VB"),
    **dict.fromkeys(
        ("who", "that", "which", "what", "where", "when", "while", "as", "because", "if", "than", "then"), "WRB"
    ),
    **dict.fromkeys(("of", "with", "without", "from", "for", "to", "off", "like", "via", "per", "until"), "IN"),
    **dict.fromkeys(("made", "seen", "standing", "sitting"), "VB"),
    **dict.fromkeys(SCENE_PREPOSITIONS, "IN"),
}

# names written with "of"; with capitals they are found by rule
OF_NAMES = _words(
    "statue-of-liberty queen-of-england lord-of-the-rings game-of-thrones tower-of-london tower-of-pisa "
    "king-of-england call-of-duty house-of-cards bird-of-paradise birds-of-paradise cup-of-tea-party "
    "gulf-of-mexico prince-of-persia knights-of-the-round-table arc-de-triomphe great-wall-of-china "
    "leaning-tower-of-pisa"
)

# words that end in s in the singular or have none
_UNCHANGED = _words(
    "bus glass dress grass class moss cross compass princess goddess waitress actress mistress fortress mattress "
    "lens canvas atlas christmas cactus octopus circus campus virus walrus hippopotamus platypus crocus lotus "
    "iris oasis gas brass chess business boss albatross mars venus texas paris las vegas kansas jesus chaos "
    "series species news jeans pants trousers shorts glasses sunglasses scissors headphones goggles stairs "
    "clothes pyjamas pajamas tennis gymnastics physics politics molasses mess bass kiss abyss colosseum cosmos "
    "woods bonus genius fungus hibiscus stylus sinus pegasus zeus ruins darkness wilderness loss press stress process "
    "success access express jess ross james thomas chris athens wales netherlands"
)
# and plurals that the rules get wrong
SINGULARS: dict[str, str] = {
    **{word: word for word in _UNCHANGED},
    **{
        "buses": "bus",
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
        "fishermen": "fisherman",
        "firemen": "fireman",
        "snowmen": "snowman",
        "businessmen": "businessman",
        "policemen": "policeman",
        "bubbles": "bubble",
        "media": "media",
        "data": "data",
    },
}

# the commonest words of other languages that are no English words, to tell that a prompt is not English
FOREIGN = _words(
    "el la los las del una uno unos por con para que en sobre entre y su sus al es está como muy bajo junto hacia "
    "desde der das und ein eine einen einem einer mit auf im ist den dem des über unter vor nach zwei von durch "
    "für zum zur le les du une et dans sur avec est au aux sous qui pour devant vers deux ses il lo gli di che "
    "nel nella della dello sul sulla tra verso sono um uma com em do da dos na nos nas pelo pela sob ao ou een "
    "het op met van naar bij w nad pod przez się jest ve bir için ile och på med ett som og i"
) - _words("a i on at an as in or do to la")
ENGLISH = _words(
    "a an the of in on at with and is are to over by from through into up down his her its their this that while as"
)

# words that people often misspell in prompts, beside those of the lists above
COMMON = _words(
    "beautiful camera character background mountain astronaut butterfly elephant giraffe dolphin penguin kangaroo "
    "crocodile spaceship building restaurant waterfall umbrella bicycle motorcycle helicopter airplane landscape "
    "girl woman child people warrior soldier princess monster creature skeleton lightning explosion fireworks "
    "balloon chocolate strawberry sandwich guitar piano violin trumpet basketball football skateboard snowboard "
    "diamond triangle rectangle square circle purple yellow orange green forest desert ocean beach island village "
    "castle bridge garden flower sunflower tree rabbit squirrel monkey leopard cheetah tiger lion horse puppy "
    "kitten dinosaur dragon wizard knight samurai robot computer telephone elderly gorgeous mysterious ancient "
    "futuristic walking running dancing flying swimming jumping standing sitting driving looking holding wearing"
)
