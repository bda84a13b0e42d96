"""Words of style that stand by themselves between commas: genres, media, tools, sites, lenses, artists.

Plain data beside `vocabulary`. A word of GENRES or MEDIA is style only as a tag of its own ("fantasy, a castle");
with a noun after it, it describes ("a fantasy castle").
"""

from worker.prompts.vocabulary.lists import word_set
from worker.prompts.vocabulary.style import STYLE_HEADS, STYLE_WORDS

# as a tag of their own: what kind of picture it is
GENRES = word_set(
    "fantasy horror sci-fi scifi thriller comedy drama romance adventure western noir dystopia utopia steampunk "
    "cyberpunk biopunk dieselpunk solarpunk afrofuturism afropunk retrofuturism futurism surrealism minimalism "
    "maximalism expressionism realism romanticism impressionism symbolism modernism tropicalism baroque rococo "
    "renaissance gothic bauhaus constructivism brutalism psychedelia psychedelic lovecraftian occult macabre "
    "grotesque satire parody nostalgia mystique terror dread gore thrilling trippy eerie eery creepy creepypasta "
    "dreamcore weirdcore vaporwave dark-fantasy avantgarde avant-garde maximalist minimalist abstract arthouse "
    "painterly punk cybernetic elite solo emotional norse kitsch medieval vintage retro chaos chaotic dreamy "
    "nightmare surreal dystopian apocalypse pop neo-gothic neo-noir midcentury bladerunner chromakey"
)
# as the noun of a phrase: style, whatever stands before it ("nordic horror")
GENRE_HEADS = word_set(
    "fantasy horror sci-fi scifi thriller comedy drama noir dystopia utopia steampunk cyberpunk biopunk dieselpunk "
    "solarpunk afrofuturism retrofuturism futurism surrealism minimalism maximalism expressionism impressionism "
    "romanticism symbolism modernism baroque rococo bauhaus psychedelia satire parody nostalgia vaporwave synthwave "
    "gore fan-fiction steam-punk cyber-punk"
)
# as a tag of their own: how or with what it was made, where it is shown
MEDIA = word_set(
    "lithography cyanotype linocut woodcut etching screenprint crystallography nft diy raw matte glow bloom blur "
    "grain grains sharpness symmetry symmetrical specularity composition iridescence gradient gradients wallpaper "
    "collage collages impasto airbrush gouache fresco ink chalk pastel pencil charcoal acrylic oil canvas vector "
    "typography icon clipart sticker print prints poster caricature graffiti cosplay photoshoot headshot screenshot "
    "thumbnail panorama isometric sculpture 3d-model model texture textures pattern scenery architecture sculpt "
    "tempera encaustic sanguine grisaille risograph halftone duotone mezzotint aquatint drypoint monotype tintype "
    "daguerreotype ambrotype calotype autochrome newsreel cutscene infomercial featurette webtoon webcomic manhwa "
    "cinemagraph anaglyph cover covers "
    "editorial outline outlines lineart line-art rpg "
    "masterwork artbook lightbox particles smoothness fullshot halfbody powerfull iso specular"
)
# the same beside other words of style, but names of people too: "maya and houdini vfx", arnold schwarzenegger
NAMES_OF_TOOLS = word_set(
    "arnold maya houdini redshift canon olympus sigma leica zeiss procreate nvidia "
    "playstation xbox gamecube ps1 ps2 ps3 ps4 ps5 n64"
)
# wherever they stand: programs, sites, cameras, films, prizes
TOOLS = word_set(
    "greyscale ultrareal eos sketchfab artstationhd artstationhq twitter instagram patreon facebook youtube tumblr "
    "reddit tiktok artstation deviantart pixiv cgsociety behance pinterest flickr dribbble danbooru furaffinity skeb "
    "fanbox pixiv-fanbox dezeen unsplash shutterstock imgur worksafe nsfw zbrush vray v-ray keyshot corona daz daz3d "
    "cryengine photoshop lightroom photolab clipstudio medibang midjourney novelai dall-e rtx hdri hq uhq jpg png "
    "jpeg dslr slr gopro nikon pentax hasselblad hasselblaad fujifilm fuji mamiya ektachrome kodachrome velvia portra "
    "ektar cinestill instax lomography polaroids anamorphic ultrawide widescreen fullscreen godrays sfm c4d mcbess "
    "hyperdetail hyperdetailed hypervivid hyperrealism hyperreal ultrasharp ultrarealism photorealisim unfocus "
    "unfocused superdetailed extremly-detailed filmic cg cgi-animation analog dolbyvision modelsociety cgworld "
    "cartoony octant raytraced raytracting prerendered semirealistic subsurface ultradetailed uhdr supersampling "
    "midjunrnyv5 novelai nikkor albedo svg super8 super-8 revolog cinestill kadokawa gainax cygames cinema4d fullbody "
    "coronarender bauhause sfumato animanga inaturalist datamosh toonami denoise pbr dpi "
    "backlight eos-1d"
)

# of MEDIA, what one draws with
MATERIALS = word_set(
    "gouache ink inks chalk chalks pastel pastels pencil pencils charcoal acrylic acrylics oil oils crayon crayons pen "
    "airbrush tempera watercolors watercolours"
)
MEDIA |= MATERIALS - {"pen", "crayon"}

KINDS = GENRES | MEDIA
WORDS = STYLE_WORDS | TOOLS  # one word each
WORDS_OR_HEADS = WORDS | STYLE_HEADS
TAGS = WORDS | KINDS | NAMES_OF_TOOLS  # all that is style where it stands between commas


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(";"))


PHRASES = _listed("""
    high detailed; extreme detailed; finely detailed; super detailed; extra detailed; mobile game; realistic shaded;
    profile portrait; profile picture;    profile shot;
    avant garde; movie still; film still; screen still; video still;
    full of colour; full of color; full color; full colour; global illumination; ambient occlusion; chromatic
    aberration; subsurface scattering; tone mapping; light shafts; light rays; lens blur; rule of thirds; golden
    ratio; rim lighting; symmetric balance; symmetrical balance; dolby vision; arnold render; face enhance; ai
    enhanced; graphic novel; light novel; art nouveau; pixel perfect; noir art house; art house; sunlight study;
    shoujo manga; shonen manga; d & d; dungeons and dragons; dungeons & dragons; magic the gathering; science
    fiction; sci fi; dark fantasy; high fantasy; epic fantasy; body horror; cosmic horror; eldritch horror; liminal
    space; sacred geometry; abstract brush strokes; visible strokes; brush strokes; brush stroke; brush hard; thick
    brush strokes; bold shapes; hard edges; clean lines; shape language; inking lines; full shading; bold outline;
    oil paint; graffiti paint; post processing; post production; color scheme; colour scheme; color palette; colour
    palette; color bleed; color profile; color grade; colour grade; polarizing filter; film stock; film camera;
    photography award; photo bash; contest winner; dynamic pose; dramatic pose; various poses; dynamic scene;
    dramatic scene; eye contact; concept design; character sheet; character design; magazine cover; book cover;
    album cover; manga cover; movie poster style; instagram post; instagram filters; adobe photoshop; adobe
    lightroom; low light; soft light; studio light; dim light; warm light; hard light; diffuse light; radiant light;
    volume light; back light; cinematic light; atmospheric light; light bloom; light refraction; light reflection;
    specular highlights; perfect anatomy; perfect composition; dynamic composition; intricate complexity; sense of
    depth; high depth; deep depth; high complexity; high contrast; deep shadows; heavy grain; au naturel; hyper
    lapse; motion capture; green screen; red camera; film scene; movie scene; movie screen; cross section; cross
    section view; sharp image; macro vision; lower third; street photography; fashion photography; product
    photography; food photography; press photo; stock photo; macro photography; low saturation; high saturation;
    soft gradient; smooth gradients; natural blur; gaussian blur; minimalistic composition; real engine; perfect
    symmetry; face symmetry; golden hour light; set pieces; award winner; featured on pixiv; adobe illustrator;
    unreal 5; ue 5; japanese woodblock print; woodblock print; offset lithography print; screen printing; visual
    effects; special effects; lens distortion; vhs filter; old film; old movie; silent film; low fps; low budget; no
    sound; cg society; character portrait; full colour print; full color print; street art; profile picture; 3d
    model; comic book panel; comic panel; vhs tape; arri alexa; film reel; perfect form; main character; side
    profile; red shift; subsurface scatters; sony animation studios; face model; soft blur; scene background;
    displacement map; security camera; surveillance camera; dash cam; body cam; pen and ink; ink and pen; light
    leak; light leaks; lens flares; after effects; premiere pro; vegas pro; davinci resolve; key visual; official
    media; still life; epic scale; massive scale; grand scale; large scale; high res; hi res; hi resolution; low
    res; star wars episode; entire body; whole body; indirect light; ambient light; perfect loop; aspect ration;
    aspect ratio; walt disney; film grains; full motion; fast motion; fast paced; slow paced; high speed; slow
    speed; slow moion; screen capture; test signal; split view; aspect view; top shot; movie camera angle; handheld
    camera; film look; movie look; full hd quality; ultra high resolution; waist up; full page; full character; head
    in focus; focus on face; canon eos; eos r; aaa game; for aaa game; street fashion; movement camera; wet plate;
    vintage wet plate; negative space; weta fx; global light; steam punk; cyber punk; deviant art; mixed style;
    mixed styles; night vision camera; trail cam; food blog; mixed media; digital collage; screen print; light dust;
    album cover art; airbrush art; technical draw; slow pan; dash camera; night vision; b & w; b / w; fever dream;
    colour pallet; color pallet; roaring twenties; splash screen; loading screen; title screen; splash art; visual
    novel; picture book; puzzle book; coloring book; colouring book; coloring page; colouring page; zoom camera;
    camera boom; crane shot; palette knife; walk through; adobe after effects; character concept art; game
    character concept art; character art; game art; game character art; digital paint; botanical print; portrait
    commission; horror vacui; french seinen; clip stadio; canon c300; xf iq4; sony a7r iv; post grunge; fan art;
    acrylic paint; ai generated; model sheet; reference sheet; contact sheet; haute couture; haut
    couture
""")

# films, series, games, books, magazines: where something comes from; nothing of it need be seen
TITLES = _listed("""
    the last jedi; last jedi;
    league of legends; lord of the rings; the lord of the rings; game of thrones; house of cards; call of duty;
    prince of persia; ocarina of time; prince of egypt; sons of anarchy; lord of the flies; house of the dragon;
    guardians of the galaxy; star wars; star trek; stranger things; blade runner; blade runner 2049; the matrix;
    fight club; pulp fiction; breaking bad; better call saul; the walking dead; squid game; twin peaks; back to the
    future; jurassic park; jurassic world; the big lebowski; big lebowski; mad max fury road; the sopranos; the
    truman show; a clockwork orange; clockwork orange; 2001 a space odyssey; space odyssey; apocalypse now;
    reservoir dogs; kill bill; inglourious basterds; django unchained; the grand budapest hotel; grand budapest
    hotel; fast and furious; fast & furious; the hunger games; hunger games; pirates of the caribbean; witcher 3;
    elden ring; dark souls; bloodborne; sekiro; skyrim; elder scrolls; the elder scrolls; fallout 4; new vegas;
    cyberpunk 2077; deus ex; team fortress; team fortress 2; grand theft auto; gta; gta iv; gta 4; gta v; gta 5;
    gta san andreas;
    red dead redemption; assassin's creed; assassins creed; final fantasy; final fantasy vii; legend of zelda; the
    legend of zelda; breath of the wild; wind waker; the wind waker; super mario bros; mario kart; animal crossing;
    resident evil; silent hill; metal gear; metal gear solid; street fighter; mortal kombat; apex legends;
    overwatch; fortnite; minecraft; roblox; starcraft; world of warcraft; warcraft; hearthstone; warhammer;
    warhammer 40k; warhammer 40000; warhammer fantasy; dungeons & dragons; pathfinder; amongus; horizon zero dawn;
    god of war; the last of us; last of us; death stranding; mass effect; dead space; doom eternal; bioshock;
    borderlands; disco elysium; stardew valley; no man's sky; south park; family guy; adventure time; gravity falls;
    avatar the last airbender; attack on titan; dragon ball; dragon ball z; death note; neon genesis evangelion;
    evangelion; cowboy bebop; fullmetal alchemist; demon slayer; jujutsu kaisen; my hero academia; sword art online;
    ghost in the shell; spirited away; naruto shippuden; tokyo ghoul; genshin impact; texas
    chainsaw massacre; nightmare before christmas; the nightmare before christmas; gone with the wind; the sound of
    music; toy story; finding nemo; the lion king; the jungle book; jungle book; avengers endgame; infinity war; dc
    comics; dc universe; marvel universe; marvel cinematic universe; journey to the west; monty python; monty python
    holy grail; peaky blinders; money heist; downton abbey; the x files; x files; sesame street; saturday night
    live; futurama; american psycho; the big bang theory; big bang theory; how i met your mother; the hitchhiker's
    guide; war and peace; crime and punishment; the great gatsby; great gatsby; vogue; vogue magazine; time
    magazine; national geographic magazine; playboy magazine; rolling stone magazine; vanity fair; elle magazine;
    harper's bazaar; bbc; hbo; netflix; cnn; pbs; mtv; fox news; hulu; crunchyroll; icewind dale; baldur's gate;
    diablo iii; diablo 2; path of exile; magic the gathering; yu-gi-oh; yugioh; pokemon go; la la land;
    requiem for a dream; trainspotting; donnie darko; interstellar; devil may cry; dota; dota 2; guild wars; guild
    wars 2; dragon age; dragon age inquisition; mirror's edge; xenoblade chronicles; metroid prime; metroid fusion;
    counter strike; half life 2; left 4 dead; halo infinite; gears of war; far cry 5; super smash bros; kingdom
    hearts; persona 5; nier automata; hollow knight; shadow of the colossus; one punch man; spy x family; he man
    and the masters of the universe; age of empires; sea of thieves; heroes of might and magic; command and
    conquer; five nights at freddy's; marvel avengers; undertale; clash of clans; subway surfers; temple run; candy
    crush; doctor who; ready player one; dead or alive; dead by daylight; code geass; symphogear;
    kancolle; idolmaster; umamusume; shirobako; yuyushiki; kanamemo; hanayamata; kinmoza; nichijou; yuruyuri; kiseijuu;
    morrowind; lost ark; breakingbad; baywatch
""")

# painters, illustrators, photographers, directors and studios that prompts name for their look
ARTISTS = frozenset(
    tuple(name.split())
    for name in _listed("""
    mark cooper; joe jusko; frank hampson; francois boucher; adolphe bouguereau; henry selick; tomas sanchez;
    aardman; adrian ghenie; afarin sajedi; agnes cecile; agnes pelton; agostino arrivabene; aivazovsky; akihiko
    yoshida; akira kurosawa; akira saito; akira toriyama; alan lee; albert aublet; albert bierstadt; albert robida;
    alberto burri; alberto vargas; albrecht durer; albrecht dürer; alejandro jodorowsky; aleksi briclot; alena
    aenami; alex flores; alex grey; alex pardee; alex ross; alexander calder; alexander mcqueen; alexandre cabanel;
    alfons mucha; alfred hitchcock; alfred stieglitz; alphonse mucha; alyssa monks; amanda sage; amano; anato
    finnstark; anders zorn; andreas rocha; andrei riabovitchev; andrei tarkovski; andrei tarkovsky; andrew newell
    wyeth; andrew wyeth; android jones; andy kehoe; andy warhol; anna dittmann; anna podedworna; annie leibovitz;
    ansel adams; anthony van dyck; antoine blanchard; anton fadeev; anton pieck; antoni gaudi; ardian syaf; ari
    aster; arnold bocklin; arnold böcklin; art frahm; artem demura; artemisia gentileschi; artgem; artgerm;
    artgerma; arthur rackham; arthur szyk; ash thorp; asher brown durand; asher durand; ashley wood; atey ghailan;
    aubrey beardsley; audrey kawasaki; ayami kojima; aykut aydogdu; balthus; banksy; basquiat; bastien lecouffe
    deharme; bayard wu; beatrix potter; beeple; beksinski; beksiński; ben templesmith; bernie fuchs; bernini;
    berthe morisot; bilibin; bob peak; bong joon-ho; boris vallejo; bosch; botero; botticelli; bouguereau; brian
    froud; brom; brooke shaden; bruce davidson; bruce pennington; bruce weber; bruegel; bunbun; camille pissarro;
    camille rose garcia; canaletto; caravaggio; carl gustav carus; carl spitzweg; carne griffiths; cartier-bresson;
    caspar david friedrich; caspar friedrich; cassius marcellus coolidge; caulfield; cedric peyravernay; cezanne;
    chagall; charles dana gibson; charles vess; charlie bowater; chesley bonestell; chris foss; christopher
    balaskas; christopher nolan; cindy sherman; claude monet; clive barker; clyde caldwell; conrad roset; craig
    mullins; cronenberg; cyril rolando; da vinci; dali; dan mcpharlin; dan mumford; daniel gerhartz; daniel
    merriam; dante gabriel rossetti; dario argento; dariusz zawadzki; dave mckean; david cronenberg; david fincher;
    david hockney; david lachapelle; david lean; david lynch; dean cornwell; degas; del toro; denis villeneuve;
    diane arbus; diego fazio; diego rivera; dieter rams; disney; dolce & gabbana; dolce and gabbana; donato
    giancola; dorian cleavenger; dorothea lange; dr seuss; dreamworks; drew struzan; dürer; earl moran; ed binkley;
    ed emshwiller; edgar degas; edgar maxence; edmund blair leighton; edmund dulac; edouard manet; edvard munch;
    edward burne jones; edward burne-jones; edward hopper; edward robert hughes; egon schiele; eiichiro oda; el
    greco; ellen jewett; enki bilal; enoch bolles; eric lacombe; erik johansson; ernst haeckel; esao andrews;
    esuthio; eugene de blaas; eugene delacroix; federico fellini; fellini; feng zhu; fenghua zhong; ferdinand knab;
    fernando botero; filip hodas; fra angelico; francis bacon; francisco goya; frank frazetta; frank miller; frank
    quitely; frank schoonover; frans hals; frantisek kupka; frazetta; frederic church; frederic leighton; frederic
    remington; frida kahlo; fritz lang; gaspar noe; gaston bussiere; gaughan; gauguin; geof darrow; george condo;
    george grosz; george miller; georges melies; georges seurat; georgia o'keeffe; gerald brom; gerda wegener;
    gerhard richter; ghibli; giger; gil elvgren; gilles beloeil; giotto; goro fujita; goya; grant wood; greg
    hildebrandt; greg manchess; greg rutkowski; greg rutowski; greg staples; greg tocchini; gregory crewdson;
    guillermo del toro; gustav klimt; gustave courbet; gustave dore; gustave doré; gustave moreau; h r giger;
    hajime sorayama; hans dahl; hans holbein; hans thoma; hans zatzka; hans zimmer; harumi hironaka; hayao
    miyazaki; helmut newton; henri cartier-bresson; henri de toulouse-lautrec; henri matisse; henri rousseau;
    hermann hendrich; hideaki anno; hideo kojima; hieronymus bosch; hikari shimoda; hirohiko araki; hiroshi
    yoshida; hiroshige; hiroshige utakawa; hitchcock; hokusai; howard pyle; hr geiger; hr giger; hr. giger; huang
    guangjian; ian mcque; ian sprigger; ian spriggs; igarashi daisuke; ignacio fernandez rios; ilya kuvshinov; ilya
    repin; ilya yefimovich repin; ingmar bergman; ingmar bergmann; ingres; iris van herpen; irving penn; isaac
    levitan; ismail inceoglu; issey miyake; ivan aivazovsky; ivan bilibin; ivan shishkin; j c leyendecker; j scott
    campbell; jacek yerka; jack kirby; jackson pollock; jacques louis david; jacques tati; jake parker; jakub
    rozalski; jama jurabaev; james cameron; james ensor; james gilleard; james gurney; james jean; james stokoe;
    james turrell; jamie hewlett; jamie wyeth; jan davidsz de heem; jan steen; jan urschel; jan van eyck; jason
    felix; jasper johns; jean baptiste monge; jean delville; jean giraud; jean honore fragonard; jean leon gerome;
    jean michel basquiat; jean paul gaultier; jean-honoré fragonard; jean-leon gerome; jean-luc godard; jean-léon
    gérôme; jean-michel basquiat; jeff easley; jeff koons; jenny saville; jeremy lipkin; jeremy lipking; jeremy
    mann; jesper ejsing; jessica rossier; jim burns; jim lee; jin kagetsu; joan miro; joan miró; joaquin sorolla;
    jodorowsky; joe fenton; johannes vermeer; john berkey; john berkley; john burningham; john carpenter; john
    collier; john constable; john currin; john everett millais; john harris; john howe; john park; john singer
    sargent; john waterhouse; john william godward; john william waterhouse; jordan grimmer; josan gonzales; josan
    gonzalez; joseph christian leyendecker; josephine wall; julie bell; junji ito; junko mizuno; justin gerard;
    justin sweet; kaethe butcher; kai carpenter; kandinsky; kano sanraku; karl gerstner; karlkka; karol bak;
    katsuhiro otomo; katsushika hokusai; katsuya terada; kawase hasui; kaws; kay nielsen; kazimir malevich; kehinde
    wiley; keita morimoto; keith haring; keith parkinson; kentaro miura; khyzyl saleem; kilian eng; kinkade;
    kirchner; kitagawa utamaro; klaus bürgle; klee; klimt; koji morimoto; krenz cushart; kubrick; kubrik; kunisada;
    kuroda seiki; kurosawa; larry elmore; laurie greasley; lawrence alma tadema; lawrence alma-tadema; lee bermejo;
    lee griggs; leonardo da vinci; leonid afremov; leonid kozienko; leonora carrington; leyendecker; liam brazier;
    liam wong; lisa frank; lois van baarle; loish; louis comfort tiffany; louise zhang; luc schuiten; lucas
    cranach; lucian freud; lucien rudaux; luis ricardo falero; luis royo; maciej kuciara; magali villeneuve;
    magritte; makoto shinkai; malcolm liepke; mamoru oshii; mandy jurgens; marc adamus; marc chagall; marc
    simonetti; margaret mee; mark arian; mark brooks; mark rothko; mark ryden; martin handford; martin parr; martin
    schoeller; martin scorsese; mary cassatt; masamune shirow; matisse; mattias adolfsson; max ernst; maxfield
    parrish; maya takamura; mc escher; mead schaeffer; michael bay; michael garmash; michael hussar; michael
    whelan; michelangelo; mike mignola; mike winkelmann; miles johnston; milton glaser; miro; misha gordin;
    miyazaki; moebius; mohrbacher; mondrian; monet; mucha; munch; n c wyeth; naoko takeuchi; nc wyeth; nekro;
    nekroxiii; nicholas roerich; nixeu; noah bradley; noriyoshi ohrai; norman rockwel; norman rockwell; odilon
    redon; oleg oprisco; olga soby; olivia de berardinis; orson welles; osamu tezuka; ossdraws; otto dix; ozabu;
    pablo picasso; paolo roversi; park chan-wook; pascal campion; patrick nagel; paul cezanne; paul delaroche; paul
    gauguin; paul klee; paul lehr; paula rego; peter brueghel; peter chung; peter ferguson; peter jackson; peter
    mohrbacher; peter morhbacher; peter paul rubens; petros afshar; phil hale; philippe druilleg; philippe
    druillet; picasso; piero della francesca; pieter bruegel; pino daeni; pipilotti rist; pissarro; pixar; quentin
    blake; quentin tarantino; rachel ruysch; ralph bakshi; ralph horsley; range murata; raphael lacoste; raqib
    shaw; ray caesar; raymond swanland; rebecca guay; rei kawakubo; rembrandt; rembrandt van rijn; rene magritte;
    renoir; rené magritte; rhads; richard avedon; rick guidice; ridley scott; robert capa; robert crumb; robert
    eggers; robert mccall; robert mcginnis; robert rauschenberg; rodney matthews; roger deakins; roger dean; rosa
    bonheur; ross bugden; ross draws; ross tran; rossdraws; rothko; roy lichtenstein; ruan jia; rubens; russ mills;
    ryohei hase; sachin teng; sakimichan; salman toor; salmon khoshroo; salvador dali; salvador dalí; sam mendes;
    sam raimi; sam spratt; sam weber; sam yang; samdoesarts; sandro botticelli; sargent; saruei; satoshi kon;
    scorsese; scott campbell; sergey kolesov; seurat; shaun tan; shepard fairey; shichiro kobayashi; shinji
    aramaki; shinsui ito; shintaro kago; simon bisley; simon stalenhag; simon stålenhag; sofia coppola; sparth;
    spielberg; stanley artgerm; stanley artgerm lau; stanley artgermm; stanley kubrick; stanley lau; stephen bliss;
    steve argyle; steve hanks; steve mccurry; steven spielberg; studio ghibli; sung choi; svetlin velinov; syd
    mead; sylvain sarrailh; tadanori yokoo; takashi murakami; takato yamamoto; takaya imamura; takeshi obata;
    tamara de lempicka; tara mcpherson; tarantino; tarkovsky; tarsila do amaral; ted nasmith; terrence malick;
    terry gilliam; theodor kittelsen; thierry doizon; thomas cole; thomas gainsborough; thomas kindkade; thomas
    kinkade; thomas moran; thomas peschak; tim burton; tim eitel; tim hildebrandt; tim okamura; tim walker; timothy
    von rueden; tintoretto; tite kubo; titian; todd lockwood; todd mcfarlane; tom bagshaw; tom lovell; tomas
    sanchez; tomer hanuka; tooth wu; toulouse-lautrec; tristan eaton; tsutomu nihei; tuomas korpi; tyler edlin;
    tyler jacobson; ufotable; utagawa hiroshige; utagawa kuniyoshi; van dyck; van eyck; van gogh; velasquez;
    velazquez; vermeer; victo ngai; victor adame minguez; victor charreton; victor enrich; victor nizovtsev; viktor
    vasnetsov; vincent di fate; vincent van gogh; vivian maier; vivienne westwood; wadim kashin; walter everett;
    warhol; wassily kandinsky; waterhouse; wayne barlowe; wayne reynolds; wayne thiebaud; wes anderson; wes craven;
    william adolphe bouguereau; william blake; william bradford; william eggleston; william holman hunt; william
    turner; william-adolphe bouguereau; winslow homer; wlop; wolfgang lettl; wong kar wai; wylie beckert; yago
    hortal; yasutomo oka; yayoi kasuma; yayoi kusama; yoji shinkawa; yorgos lanthimos; yoshitaka amano; yoshiyuki
    sadamoto; yukio kitt; yukito kishiro; yusuke murata; yuumei; yves tanguy; zabrocki; zaha hadid; zao wou-ki;
    zdzislaw beksinski; zdzisław beksiński; édouard manet
    """)
)
