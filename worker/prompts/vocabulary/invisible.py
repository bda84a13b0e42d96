"""Nouns for what no picture shows, or every picture does."""

from worker.prompts.vocabulary.lists import word_set

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

# a phrase that ends in one of these says how things look or move, and names nothing: "matrix effect", "rasta colors"
CARRIERS = word_set(
    "effect effects color colors colour colours contrast motion movement vibe vibes feel feeling mood atmosphere "
    "length speed sharpness saturation brightness exposure clarity composition"
)
# what these phrases name is not in the picture
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

# words for a picture as a whole: with nothing but praise they are style
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

AIMS = word_set(
    "look looks looking looked stare stares staring gaze gazes gazing glance glances point points pointing smile "
    "smiles smiling wave waves waving laugh laughs laughing shoot shoots shooting throw throws throwing yell yells "
    "yelling shout shouts shouting scream screams screaming aim aims aiming wink winks bark barks barking peek peeks "
    "growl growls growling hiss hisses hissing snarl snarls snarling nod nods nodding swing swings swinging peck pecks"
)
# they say little of a picture: a match of these alone is no hit
GENERIC = word_set(
    "person people human somebody character figure friend companion enemy creature animal being individual guy "
    "someone crowd group family couple stranger member citizen folk thing object item element shape form structure "
    "material substance detail part piece model design symbol sign word letter text title logo caption message "
    "name number world environment scene place area setting background landscape image view light shadow reflection "
    "color colour line pattern texture life air wind breeze surface ground body adult male female opening "
    "人 人们 人物 角色 朋友 东西 动物 手 脸 眼睛 头 头发 身体 表情"
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
# never an entity, however they are described: feelings, ideas, measures, sounds, actions
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
# those of them that are things in the plural
SEEN_IN_PLURAL = word_set("presents souls charms tastes minds")
# endings of such nouns, apart from those that a picture shows
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
