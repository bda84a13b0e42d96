"""Closed word classes of Spanish, French and Portuguese, and words that their endings do not identify. Plain data."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from worker.prompts.vocabulary.lists import word_set


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What tells the words of one language apart."""

    language: str
    articles: frozenset[str]
    inside: frozenset[str]  # prepositions of place
    on: frozenset[str]
    prepositions: frozenset[str]
    of: frozenset[str]
    conjunctions: frozenset[str]
    alternatives: frozenset[str]
    copulas: frozenset[str]
    relatives: frozenset[str]
    negations: frozenset[str]
    nots: frozenset[str]
    nobody: frozenset[str]
    likes: frozenset[str]
    degrees: frozenset[str]
    others: frozenset[str]
    verbs: frozenset[str]  # forms that no rule makes
    nouns: frozenset[str]  # nouns that their endings would make something else
    adjectives: frozenset[str]
    postures: frozenset[str]  # participles that are no look of a thing where a place follows
    adjective_ends: tuple[str, ...]
    participle_ends: tuple[str, ...]
    gerund_ends: tuple[str, ...]
    with_pronoun: re.Pattern[str]  # a verb with the pronoun that is joined to it: "lanzándole", "olhando-se"
    acting_ends: tuple[str, ...]  # endings of verbs after a noun in the plural
    clause_ends: tuple[str, ...]  # endings of verbs after "que"
    infinitives: tuple[tuple[str, tuple[str, ...]], ...]  # an ending of the present, and those of its infinitives
    plurals: tuple[tuple[str, tuple[str, ...]], ...]  # an ending of the plural, and those of the singular
    feminines: tuple[tuple[str, tuple[str, ...]], ...]
    fixed: frozenset[str]  # words of several parts


_SPANISH_ON = ("en lo alto", "al pie", "al borde", "a orillas", "en medio", "en la cima")  # on top of, at the foot of
SPANISH = Grammar(
    language="es",
    articles=word_set(
        "el la los las lo un una unos unas este esta estos estas ese esa esos esas aquel aquella su sus mi mis tu tus "
        "nuestro nuestra otro otra otros otras cada todo toda todos todas al algún alguna algunos algunas"
    ),
    inside=word_set("en dentro"),
    on=word_set("sobre encima") | {*_SPANISH_ON},
    prepositions=word_set(
        "a ante bajo con contra desde entre hacia hasta para por según tras durante mediante al debajo delante "
        "detrás junto cerca frente alrededor a través lejos"
    )
    | {"en torno"},
    of=word_set("de del"),
    conjunctions=word_set("y e vs"),
    alternatives=word_set("o u ni"),
    copulas=word_set("es son está están era eran fue parece parecen parecía siendo estaba"),
    relatives=word_set("que cual quien quienes cuyo cuya"),
    negations=word_set("sin excepto salvo ningún ninguna ninguno ni menos"),
    nots=word_set("no nunca jamás tampoco"),
    nobody=word_set("nadie"),
    likes=word_set("como cual"),
    degrees=word_set("color colores muy más tan bastante completamente totalmente casi todo medio"),
    others=word_set(
        "se le les lo me te nos él ella ellos ellas yo tú ahí allí aquí también ya aún mientras cuando donde porque si "
        "pero sino luego después antes siempre lentamente rápidamente suavemente arriba abajo lejos cerca solo sólo "
        "juntos juntas vez veces así entonces mucho poco hay uno otra favor porfa porfis"
    ),
    verbs=word_set(
        "va van viene vienen sirve sirven llega llegan duerme duermen juega juegan vuela vuelan llueve nieva come "
        "comen corre corren bebe beben lee leen sonríe ríe ríen sube suben cae caen hace hacen dice tiene tienen "
        "sostiene sostienen lleva llevan ve ven mira miran muestra muestran sale salen se entra entran conduce "
        "conducen cruza persigue persiguen vuelve siente se sienta sigue siguen brilla brillan arde arden crece crecen "
        "aparece aparecen abre abren cierra puede pueden quiere debe hay haz crea genera muéstrame muestra toca tocan "
        "salta saltan nada nadan baila bailan camina caminan canta cantan pasa pasan pasea pasean cocina pinta habla "
        "hablan viste visten usa usan rodea rodean cubre cubren ilumina iluminan cuelga cuelgan flota flotan gira "
        "giran descansa pelea pelean lucha luchan observa observan explora exploran navega navegan cabalga cabalgan "
        "monta explota estalla llora grita quiero quisiera necesito dame hazme dime ponme imagina dibuja "
        "vemos "
        "mostrar muestres muestre incluir incluyas añadir añadas poner pongas dibujar dibujes"
    ),
    nouns=word_set(
        "helado soldado vestido pescado tejado mercado prado estado cuadrado lado sonido abogado ganado calzado "
        "mercado puñado sol animal cristal hospital metal canal festival portal pedestal árbol mar lugar bar hogar "
        "militar collar altar dólar chocolate elefante gigante diamante amante estudiante cantante restaurante volante "
        "fuente puente gente serpiente ambiente oriente paciente presidente combate cocina lluvia música fábrica "
        "botánica tela nieve torre nube flor té café cohete mariposa rosa hoja agua estrella ventana montaña viento "
        "plaza noche tarde calle llave nave leche carne sangre fantasma oliva lima menta mostaza"
    ),
    adjectives=word_set(
        "guapo bonito bello hermoso lindo feo feliz triste alegre salvaje mágico misterioso alto bajo largo corto "
        "ancho estrecho profundo alegre sola solo lleno vacío limpio sucio seco mojado fresco frío caliente cálido "
        "suave duro fuerte débil libre rico pobre dulce salado amargo claro plano curvo loco quieto vivo muerto verde "
        "enorme inmenso pálido rápido lento elegante adorable tierno peludo rubio moreno pelirrojo calvo cómodo urbano "
        "rural humano marino submarino espacial medieval antiguo japonés chino francés español mexicano italiano "
        "ruso alemán inglés coreano americano africano árabe chino nocturno diurno oscuro gótico barroco "
        "brillante transparente infantil juvenil tropical polar gran buen mal nuevo viejo joven lejano "
        "cercano superior inferior mejor peor estrellado soleado nevado nublado lluvioso despierto abierto cubierto "
        "roto descalzo desnudo floral real imperial ártico desértico neón cuántico púrpura violeta rosa naranja "
        "turquesa"
    ),
    postures=word_set(
        "sentado dormido tumbado acostado parado apoyado colgado situado ubicado posado arrodillado recostado echado "
        "montado subido trepado encaramado vestido lleno cubierto rodeado hecho visto filmado grabado inspirado "
        "basado acompañado iluminado decorado"
    ),
    adjective_ends=(
        *("oso", "osa", "ivo", "iva", "ico", "ica", "able", "ible", "esco", "esca", "ense", "iento", "ienta", "ístico"),
        *("ística", "ario", "aria", "ante", "iente", "il", "al", "ar", "ñol", "és", "esa", "ano", "ana", "ino", "ina"),
    ),
    participle_ends=("ado", "ada", "ido", "ida"),
    gerund_ends=("ando", "iendo", "yendo"),
    with_pronoun=re.compile(
        r"\w+(?:[aá]nd|[ií]end|yend)o(?:me|te|se|nos)?(?:l[aeo]s?)?|\w*[áéí]\w+me(?:l[ao]s?)?|"
        r"(?P<infinitive>\w{2,}[aei]r)(?=.)(?:me|te|se|nos)?(?:l[aeo]s?)?"
    ),
    acting_ends=("an", "en"),
    clause_ends=("a", "e", "an", "en", "ó", "ba", "ban"),
    infinitives=(("a", ("ar",)), ("e", ("er", "ir")), ("ó", ("ar",))),
    plurals=(
        *(("ces", ("z",)), ("ones", ("ón",)), ("anes", ("án",)), ("ines", ("ín",)), ("eses", ("és",))),
        *(("es", ("", "e")), ("s", ("",))),
    ),
    feminines=(("a", ("o", "")), ("esa", ("és",))),
    fixed=frozenset(
        (
            *("cámara lenta", "primer plano", "vista aérea", "alta calidad", "alta resolución"),
            *("plano general", "ciencia ficción"),
            *("cámara en mano", "vista de dron", "vista de drone", "plano de dron"),
            "en torno",
            *_SPANISH_ON,
        )
    ),
)

_FRENCH_ON = ("au sommet", "au pied", "au bord", "au milieu", "en haut")  # on top of, at the foot of
FRENCH = Grammar(
    language="fr",
    articles=word_set(
        "le la les l' un une ce cet cette ces son sa ses leur leurs mon ma mes ton ta tes notre nos votre vos autre "
        "autres chaque tout toute toutes tous du des au aux quelque"
    ),
    inside=word_set("dans en"),
    on=word_set("sur au-dessus par-dessus") | {*_FRENCH_ON},
    prepositions=word_set(
        "à au aux avec contre depuis derrière devant entre par pour sous vers chez pendant parmi près autour à-côté "
        "dessus dessous long travers loin hors pres"
    ),
    of=word_set("de d'"),
    conjunctions=word_set("et vs"),
    alternatives=word_set("ou ni"),
    copulas=word_set("est sont a ont était étaient semble semblent paraît devient étant reste"),
    relatives=word_set("qui que dont qu' lequel laquelle où"),
    negations=word_set("sans sauf excepté aucun aucune ni hormis"),
    nots=word_set("pas jamais plus ne n'"),
    nobody=word_set("personne"),
    likes=word_set("comme tel telle"),
    degrees=word_set("couleur couleurs très plus tout si assez complètement entièrement presque tellement"),
    others=word_set(
        "il elle ils elles on se s' y en lui je j' tu nous vous me te m' t' c' ça cela ici là bas aussi déjà encore "
        "toujours pendant quand lorsque alors puis ensuite mais car donc lentement rapidement doucement ensemble seul "
        "haut bas loin près très dehors dedans debout afin côte fois juste seulement après avant moi toi stp svp "
        "plaît merci"
    ),
    verbs=word_set(
        "dort dorment court courent va vont vient viennent boit boivent lit lisent écrit écrivent rit fait font fais "
        "sourit "
        "voit tient tiennent conduit conduisent suit suivent descend attend prend prennent met meurt vit vole volent "
        "nage nagent joue jouent danse dansent chante chantent marche marchent mange mangent regarde regardent porte "
        "portent saute sautent tombe tombent brille brillent brûle brûlent flotte flottent tourne tournent traverse "
        "traversent roule roulent peint peignent cuisine parle parlent grimpe entre sort sortent ouvre ferme monte "
        "montre montrent crée génère neige pleut assis peut peuvent doit veut apparaît explose combat combattent "
        "pousse coule coulent glisse se promène promènent repose reposent éclaire éclairent entoure entourent recouvre "
        "voyage nourrit observe explore chevauche navigue pêche pleure crie fume veux voudrais aimerais dessine "
        "imagine montrer montrez inclure ajouter ajoute mettre mets dessiner"
    ),
    nouns=word_set(
        "lumière chat lit port bois pont mont bateau château oiseau gâteau chapeau cheval animal hôpital métal "
        "journal canal "
        "été café bébé thé musée marché pré rocher boulanger papier jardin train matin lapin chemin requin ballon "
        "maison robe table place route neige marche cuisine porte lune plage montagne pomme bougie pluie prairie "
        "librairie rue vue statue chaussée allée soirée journée forêt nuit éléphant enfant géant diamant restaurant "
        "vent instant parent moulin bassin dessin raisin fleur coeur cœur femme homme fille garçon livre verre pierre "
        "terre feu jeu lieu milieu bleu soleil réveil fauteuil piano vélo robot dragon roi reine renard canard fenêtre "
        "épée armée fusée fumée vallée fée orchidée poupée cheminée entrée vigne ciel hiver mer désert concert dessert "
        "chien loup ours singe tigre navire phare gare ville village île étoile voile toile école église herbe arbre "
        "boulangerie étang champ temps corps bras tapis palais souris glace place face espace combat chef"
    ),
    adjectives=word_set(
        "beau bel belle joli laid heureux triste gai sauvage magique mystérieux haut bas long court large étroit "
        "profond seul plein propre sale sec mouillé frais froid chaud doux dur fort faible libre riche pauvre sucré "
        "clair plat courbe fou vivant mort énorme pâle rapide lent élégant adorable tendre blond chauve roux rousse "
        "urbain rural humain marin spatial médiéval antique japonais chinois français espagnol mexicain italien russe "
        "allemand anglais coréen américain africain arabe nocturne sombre gothique baroque brillant transparent "
        "enfantin tropical polaire grand bon mauvais nouveau vieux jeune lointain proche supérieur inférieur meilleur "
        "ouvert couvert étoilé ensoleillé enneigé nuageux pluvieux moderne futuriste tranquille calme vide "
        "volant étincelant scintillant flottant abandonné perdu royal impérial arctique violette dernière premier "
        "dernier petit gros mince ancien neuf vif vieil fleuri boisé pavé brumeux féerique enchanté mignon poilu "
        "siamois persan tigré tacheté géant lumineux paisible chaleureux"
    ),
    postures=word_set(
        "assis endormi couché allongé posé appuyé accroché suspendu situé perché agenouillé debout installé habillé "
        "vêtu rempli couvert entouré fait vu filmé tourné inspiré basé accompagné éclairé illuminé décoré garé "
        "penché garée monté juché grimpé"
    ),
    adjective_ends=(
        *("eux", "euse", "ique", "able", "ible", "if", "ive", "esque", "ais", "aise", "ois", "oise", "ain", "aine"),
        *("ien", "ienne", "el", "elle", "al", "ale", "aire", "ant", "ante", "ent", "ente", "iste"),
    ),
    participle_ends=("é", "ée", "i", "ie", "u", "ue"),
    gerund_ends=(),
    with_pronoun=re.compile(r"\w+-(?:moi|toi|les?|la|nous|lui|leur)"),
    acting_ends=("ent",),
    clause_ends=("e", "t", "d", "ent"),
    infinitives=(("oie", ("oyer",)), ("e", ("er",)), ("it", ("ir",)), ("a", ("er",))),
    plurals=(("eaux", ("eau",)), ("aux", ("al",)), ("eux", ("eu",)), ("s", ("",)), ("x", ("",))),
    feminines=(
        *(
            ("anche", ("anc",)),
            ("euse", ("eux", "eur")),
            ("ienne", ("ien",)),
            ("elle", ("el", "eau")),
            ("ive", ("if",)),
        ),
        *(("osse", ("os",)), ("ette", ("et",)), ("ière", ("ier",)), ("ète", ("et",)), ("ouce", ("oux",)), ("e", ("",))),
    ),
    fixed=frozenset(
        (
            *("gros plan", "vue aérienne", "haute qualité", "haute résolution", "plan large"),
            "science fiction",
            *("caméra à l'épaule", "caméra au poing", "vue de drone"),
            *_FRENCH_ON,
        )
    ),
)

_PORTUGUESE_ON = ("no alto", "no topo", "à beira", "ao pé", "no meio")  # on top of, at the foot of
PORTUGUESE = Grammar(
    language="pt",
    articles=word_set(
        "o a os as um uma uns umas este esta estes estas esse essa esses essas aquele aquela seu sua seus suas meu "
        "minha outro outra outros outras cada todo toda todos todas algum alguma alguns algumas"
    ),
    inside=word_set("em no na nos nas num numa nuns numas dentro neste nesta naquele"),
    on=word_set("sobre cima") | {*_PORTUGUESE_ON},
    prepositions=word_set(
        "ao aos à às ante sob com contra desde entre até para por pelo pela pelos pelas durante perante após "
        "embaixo debaixo diante atrás junto perto frente redor através longe"
    )
    | {"em torno"},
    of=word_set("de do da dos das dum duma d'"),
    conjunctions=word_set("e vs"),
    alternatives=word_set("ou nem"),
    copulas=word_set("é são está estão era eram foi parece parecem sendo estava fica"),
    relatives=word_set("que qual quem cujo cuja"),
    negations=word_set("sem exceto menos nenhum nenhuma nem salvo"),
    nots=word_set("não nunca jamais"),
    nobody=word_set("ninguém"),
    likes=word_set("como tal feito quanto"),
    degrees=word_set("cor cores muito mais tão bastante completamente totalmente quase todo toda"),
    others=word_set(
        "se lhe me te ele ela eles elas eu você vocês nós aí ali lá aqui também já ainda enquanto quando onde porque "
        "se mas porém depois antes sempre lentamente rapidamente suavemente acima abaixo apenas agora tudo nada longe "
        "perto só sozinho sozinha juntos juntas vez vezes assim então pouco há favor pfv"
    ),
    verbs=word_set(
        "vai vão vem vêm dorme dormem joga jogam voa voam chove neva come comem corre correm bebe bebem lê leem sorri "
        "ri sobe cai caem faz fazem tem têm segura seguram leva levam vê veem olha olham mostra mostram sai saem entra "
        "dirige dirigem atravessa persegue senta segue brilha brilham queima cresce aparece abre fecha pode podem quer "
        "deve crie cria gere mostre toca tocam salta saltam pula pulam nada nadam dança dançam anda andam caminha "
        "caminham canta cantam passa passam passeia cozinha pinta fala falam veste usa usam cerca cobre ilumina "
        "flutua flutuam gira giram descansa luta lutam observa observam explora navega cavalga monta explode chora "
        "grita deita dirigindo desliza rola brinca brincam quero gostaria preciso faça desenhe imagine "
        "mostrar mostres incluir inclua adicionar adicione colocar coloque desenhar"
    ),
    nouns=word_set(
        "soldado vestido telhado mercado prado estado lado gelado advogado gado sol animal cristal hospital metal "
        "canal festival portal jornal quintal mar lugar bar lar colar altar jantar elefante gigante diamante estudante "
        "restaurante volante ponte fonte gente serpente ambiente oriente monte noite tarde neve torre nuvem flor chá "
        "café cozinha chuva música fábrica folha água estrela janela montanha vento praça rua chave nave leite carne "
        "sangue homem jovem mulher cão pão avião leão limão coração menina rainha galinha cadeira floresta areia "
        "bicicleta barco tartaruga farol girassol cachecol futebol anel pincel papel hotel túnel borboleta fantasma "
        "aquário armário cenário dinossauro violino menino moinho cais lápis ônibus"
    ),
    adjectives=word_set(
        "bonito belo lindo feio feliz triste alegre selvagem mágico misterioso alto baixo longo comprido curto largo "
        "estreito profundo cheio limpo sujo seco molhado fresco frio quente suave duro forte fraco livre rico pobre "
        "doce salgado claro plano louco vivo morto enorme pálido rápido lento elegante adorável fofo peludo loiro "
        "moreno ruivo careca urbano rural humano marinho submarino espacial medieval antigo japonês chinês francês "
        "espanhol brasileiro português italiano russo alemão inglês coreano americano africano árabe noturno escuro "
        "gótico barroco brilhante transparente infantil tropical polar bom mau novo velho jovem distante superior "
        "inferior melhor estrelado ensolarado nevado nublado chuvoso aberto coberto quebrado descalço floral real "
        "imperial ártico roxo rosa laranja turquesa simples preto branco"
    ),
    postures=word_set(
        "sentado adormecido deitado parado apoiado pendurado situado localizado pousado ajoelhado encostado vestido "
        "cheio coberto cercado rodeado feito visto filmado gravado inspirado baseado acompanhado iluminado decorado "
        "estacionado montado trepado"
    ),
    adjective_ends=(
        *("oso", "osa", "ivo", "iva", "ico", "ica", "ável", "ível", "esco", "esca", "ense", "ento", "enta", "ístico"),
        *("ística", "ário", "ária", "ante", "iente", "il", "al", "ar", "ês", "esa", "ano", "ana", "ino", "ina", "eiro"),
    ),
    participle_ends=("ado", "ada", "ido", "ida"),
    gerund_ends=("ando", "endo", "indo"),
    with_pronoun=re.compile(r"\w+-(?:me|te|se|nos|lhes?|l?[ao]s?|n[ao]s?)"),
    acting_ends=("am", "em"),
    clause_ends=("a", "e", "am", "em", "ou", "va", "vam"),
    infinitives=(("a", ("ar",)), ("e", ("er", "ir"))),
    plurals=(
        *(
            ("ões", ("ão",)),
            ("ães", ("ão",)),
            ("uis", ("ul",)),
            ("ãos", ("ão",)),
            ("ais", ("al",)),
            ("éis", ("el",)),
            ("óis", ("ol",)),
        ),
        *(("ns", ("m",)), ("res", ("r",)), ("zes", ("z",)), ("ses", ("s",)), ("eses", ("ês",)), ("s", ("",))),
    ),
    feminines=(("a", ("o", "")), ("esa", ("ês",)), ("ã", ("ão",))),
    fixed=frozenset(
        (
            *("câmera lenta", "primeiro plano", "vista aérea"),
            *("alta qualidade", "alta resolução", "plano geral", "ficção científica"),
            *("câmera na mão", "vista de drone"),
            "em torno",
            *_PORTUGUESE_ON,
        )
    ),
)

GRAMMARS = {grammar.language: grammar for grammar in (SPANISH, FRENCH, PORTUGUESE)}


def variants(word: str, endings: Sequence[tuple[str, tuple[str, ...]]]) -> Iterator[str]:
    """Yield a word with its ending put for others: gatas, gatos; it keeps two letters at least."""
    for ending, others in endings:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            for other in others:
                yield word[: -len(ending)] + other
