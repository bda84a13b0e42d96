"""Slips, words that are written apart or together, and which words are English."""

from worker.cache.decisions.vocabulary.lists import groups, word_set

# short or rare words as people misspell them, and with the article behind them
SLIPS: dict[str, str] = groups(
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
