"""Who may be seen: persons, peoples, names, clothes and parts of the body."""

from worker.prompts.vocabulary.lists import word_set

# garments, vessels and parts of bodies: being "in" one is not being in a place
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

BODY_PARTS = word_set(
    "hand finger thumb arm elbow shoulder leg knee foot toe head face eye eyebrow eyelash ear nose mouth lip tooth "
    "tongue chin cheek neck chest breast belly stomach waist hip back skin hair beard mustache moustache fist palm "
    "wrist ankle heel nail fingernail forehead brow jaw throat spine lap body torso butt bum muscle vein bone paw "
    "tail claw fur feather wing mane snout beak whisker horn hoof scale fang thigh"
)

# without a description, anybody
PERSONS = word_set(
    "man woman boy girl lady gentleman kid child baby teenager teen guy men women wife husband mother father mom dad "
    "son daughter brother sister girlfriend boyfriend dude 男人 女人 男孩 女孩 孩子"
)
# beside PERSONS and words in -man, -woman: a colour before them is that of the skin, one that they are in is worn;
# not those known by their clothes: a black knight, a white nun
SOMEBODY = word_set(
    "person people figure someone somebody anybody everyone everybody human couple stranger dancer singer musician "
    "artist painter teacher student farmer doctor nurse chef driver player actor actress model athlete runner boxer "
    "guitarist pianist violinist drummer cyclist skater skier surfer swimmer gymnast acrobat writer reader "
    "worker waiter waitress tourist hiker jogger passenger pedestrian performer rapper scientist lawyer"
)

# those who do things: "man waves", against "ocean waves"
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
# people from there if no noun follows: ", italian with scary masks"
PEOPLES = word_set("italian russian indian mexican african american european asian egyptian german roman arab hindu")

# people whose names are ordinary words, in lower case
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
