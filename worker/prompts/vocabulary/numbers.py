"""Numbers, measures and days."""

from worker.prompts.vocabulary.groups import CONFLICT_GROUPS
from worker.prompts.vocabulary.lists import word_set

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

MONTHS = word_set("january february march april may june july august september october november december")

UNITS = word_set("meter metre cm mm km mile foot inch yard kg gram pound ton percent degree dollar euro iso year")

DURATIONS = word_set("second seconds sec minute minutes hour hours")

# a day of these is weather or a time of the year: a scene
DAYS = word_set(
    "sunny rainy cloudy foggy misty stormy windy snowy hot cold warm bright clear gloomy overcast grey gray summer "
    "winter spring autumn christmas halloween wedding market"
)

# "knee high socks"
MEASURED = word_set("high deep length")
