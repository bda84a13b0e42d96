"""Places, and the words in front of them."""

from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.people import BODY_PARTS, CLOTHES

POINTS_OF_THE_COMPASS = word_set("north south east west")
BEFORE_NAMES = word_set("lake mount mt cape fort")

# names of places, which are not misspellings of anything else
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

CONTAINERS = word_set(
    "bowl cup teacup mug glass bottle jar box bag basket bucket pan pot oven fridge refrigerator cage bathtub tub "
    "plate dish pail tray basin vase can tin barrel crate suitcase backpack pocket drawer microwave mirror cradle crib "
    "wheelchair chair armchair stroller sphere bubble ball ring circle circles line row group pair team crowd pile "
    "sack envelope notebook book diary journal frame lens microscope telescope goggles"
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

INSIDE = word_set("in inside at within throughout across outside")
