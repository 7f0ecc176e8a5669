"""Plain words for what the networks know, and the category of each.

The 1,000 classes are those of the ILSVRC challenge (Russakovsky et al., IJCV 115, 2015) in its order, which follows
WordNet: animals first, then things, food, landscapes, people, plants. So most categories are ranges, and only among the
things are some picked by name. The 80 classes are those of COCO (Lin et al., ECCV 2014), by the numbers of its 2014
annotation, which leave gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CATEGORIES = frozenset({"product", "person", "animal", "vehicle", "food", "plant", "furniture", "scene"})
"""What a named proposal can be."""

_IMAGENET = """
tench fish; goldfish; great white shark; tiger shark; hammerhead; electric ray; stingray; rooster; hen; ostrich;
brambling; goldfinch; house finch; junco; indigo bunting; robin; bulbul; jay; magpie; chickadee; dipper bird; red
kite; bald eagle; vulture; great grey owl; European fire salamander; common newt; newt; spotted salamander; axolotl;
bullfrog; tree frog; tailed frog; loggerhead; leatherback turtle; mud turtle; terrapin; box turtle; banded gecko;
common iguana; American chameleon; whiptail; agama; frilled lizard; alligator lizard; Gila monster; green lizard;
African chameleon; Komodo dragon; African crocodile; American alligator; triceratops; thunder snake; ring-necked
snake; hognose snake; green snake; king snake; garter snake; water snake; vine snake; night snake; boa constrictor;
rock python; Indian cobra; green mamba; sea snake; horned viper; rattlesnake; sidewinder snake; trilobite; harvestman;
scorpion; black and gold garden spider; barn spider; garden spider; black widow; tarantula; wolf spider; tick;
centipede; black grouse; ptarmigan; ruffed grouse; prairie chicken; peacock; quail; partridge; African grey; macaw;
cockatoo; lorikeet; coucal; bee eater; hornbill; hummingbird; jacamar bird; toucan; duck; red-breasted merganser;
goose; black swan; elephant; echidna; platypus; wallaby; koala; wombat; jellyfish; sea anemone; brain coral; flatworm;
nematode; conch; snail; slug; sea slug; chiton; nautilus; Dungeness crab; rock crab; fiddler crab; king crab; lobster;
spiny lobster; crayfish; hermit crab; woodlouse; white stork; black stork; spoonbill; flamingo; little blue heron;
egret; bittern; crane; limpkin; European gallinule; American coot; bustard; ruddy turnstone; red-backed sandpiper;
redshank; dowitcher; oystercatcher; pelican; king penguin; albatross; grey whale; killer whale; dugong; sea lion;
Chihuahua; Japanese chin; Maltese dog; Pekinese; Shih-Tzu; King Charles spaniel; papillon dog; toy terrier; Rhodesian
ridgeback; Afghan hound; basset hound; beagle; bloodhound; bluetick coonhound; black-and-tan coonhound; Walker hound;
English foxhound; redbone hound; borzoi; Irish wolfhound; Italian greyhound; whippet; Ibizan hound; Norwegian
elkhound; otterhound; Saluki; Scottish deerhound; Weimaraner; Staffordshire bullterrier; American Staffordshire
terrier; Bedlington terrier; Border terrier; Kerry blue terrier; Irish terrier; Norfolk terrier; Norwich terrier;
Yorkshire terrier; wire-haired fox terrier; Lakeland terrier; Sealyham terrier; Airedale terrier; cairn terrier;
Australian terrier; Dandie Dinmont; Boston terrier; miniature schnauzer; giant schnauzer; standard schnauzer; Scottish
terrier; Tibetan terrier; silky terrier; soft-coated wheaten terrier; West Highland white terrier; Lhasa apso;
flat-coated retriever; curly-coated retriever; golden retriever; Labrador retriever; Chesapeake Bay retriever; German
short-haired pointer; vizsla; English setter; Irish setter; Gordon setter; Brittany spaniel; clumber spaniel; English
springer spaniel; Welsh springer spaniel; cocker spaniel; Sussex spaniel; Irish water spaniel; kuvasz; schipperke dog;
groenendael; malinois; briard; kelpie; komondor; Old English sheepdog; Shetland sheepdog; collie; Border collie;
Bouvier des Flandres; Rottweiler; German shepherd; Doberman; miniature pinscher; Greater Swiss Mountain dog; Bernese
mountain dog; Appenzeller; EntleBucher; boxer dog; bull mastiff; Tibetan mastiff; French bulldog; Great Dane; Saint
Bernard; husky; malamute dog; husky; Dalmatian; affenpinscher; basenji; pug dog; Leonberger dog; Newfoundland dog;
Great Pyrenees; Samoyed dog; Pomeranian dog; chow chow; keeshond dog; Brussels griffon; Pembroke corgi; Cardigan
corgi; toy poodle; miniature poodle; standard poodle; Mexican hairless dog; timber wolf; white wolf; red wolf; coyote;
dingo; dhole; African hunting dog; hyena; red fox; kit fox; Arctic fox; grey fox; tabby cat; tiger cat; Persian cat;
Siamese cat; Egyptian cat; cougar; lynx; leopard; snow leopard; jaguar; lion; tiger; cheetah; brown bear; black bear;
polar bear; sloth bear; mongoose; meerkat; tiger beetle; ladybird; ground beetle; long-horned beetle; leaf beetle;
dung beetle; rhinoceros beetle; weevil; fly; bee; ant; grasshopper; cricket; stick insect; cockroach; mantis; cicada;
leafhopper; lacewing; dragonfly; damselfly; red admiral butterfly; ringlet butterfly; monarch butterfly; cabbage
butterfly; sulphur butterfly; blue butterfly; starfish; sea urchin; sea cucumber; rabbit; hare; Angora rabbit;
hamster; porcupine; fox squirrel; marmot; beaver; guinea pig; horse; zebra; pig; wild boar; warthog; hippopotamus; ox;
water buffalo; bison; ram; bighorn sheep; ibex; hartebeest antelope; impala antelope; gazelle; camel; llama; weasel;
mink; polecat; black-footed ferret; otter; skunk; badger; armadillo; three-toed sloth; orangutan; gorilla; chimpanzee;
gibbon; siamang; guenon; patas; baboon; macaque; langur; colobus; proboscis monkey; marmoset; capuchin; howler monkey;
titi; spider monkey; squirrel monkey; lemur; indri lemur; Indian elephant; African elephant; red panda; giant panda;
barracuda; eel; salmon; angelfish; clownfish; sturgeon; gar fish; lionfish; pufferfish; abacus; robe; academic gown;
accordion; acoustic guitar; aircraft carrier; airliner; airship; altar; ambulance; amphibious vehicle; analog clock;
beehive; apron; rubbish bin; assault rifle; backpack; bakery; balance beam; hot-air balloon; ballpoint pen; plaster;
banjo; banister; barbell; barber chair; barbershop; barn; barometer; barrel; wheelbarrow; baseball; basketball;
bassinet; bassoon; swimming cap; bath towel; bathtub; estate car; lighthouse; beaker; bearskin hat; beer bottle; beer
glass; bell tower; bib; tandem bicycle; bikini; ring binder; binoculars; birdhouse; boathouse; bobsled; bolo tie;
bonnet; bookcase; bookshop; bottle cap; archery bow; bow tie; brass plaque; bra; breakwater; breastplate; broom;
bucket; buckle; bulletproof vest; bullet train; butcher shop; taxi; cauldron; candle; cannon; canoe; can opener;
cardigan; car mirror; carousel; tool kit; cardboard box; car wheel; cash machine; cassette; cassette player; castle;
catamaran; CD player; cello; mobile phone; chain; chainlink fence; chain mail; chain saw; chest; chest of drawers;
wind chime; china cabinet; Christmas stocking; church; cinema; cleaver; cliff dwelling; cloak; clog shoe; cocktail
shaker; coffee mug; coffee pot; spiral; combination lock; computer keyboard; sweet shop; container ship; convertible;
corkscrew; cornet; cowboy boot; cowboy hat; cradle; construction crane; crash helmet; crate; cot; slow cooker; croquet
ball; crutch; cuirass; dam; desk; desktop computer; dial telephone; nappy; digital clock; digital watch; dining table;
dishcloth; dishwasher; disk brake; dock; dogsled; dome; doormat; drilling platform; drum; drumstick; dumbbell; Dutch
oven; electric fan; electric guitar; electric locomotive; entertainment centre; envelope; espresso maker; face powder;
feather boa; filing cabinet; fireboat; fire engine; fire screen; flagpole; flute; folding chair; football helmet;
forklift; fountain; fountain pen; four-poster bed; freight car; French horn; frying pan; fur coat; garbage truck; gas
mask; petrol pump; goblet; go-kart; golf ball; golfcart; gondola; gong; gown; grand piano; greenhouse; grille; grocery
store; guillotine; hair clip; hairspray; half-track; hammer; laundry basket; hair dryer; hand-held computer;
handkerchief; hard disk; harmonica; harp; combine harvester; hatchet; holster; home cinema; honeycomb; hook;
hoopskirt; horizontal bar; horse cart; hourglass; music player; flat iron; jack-o'-lantern; jeans; jeep; jersey;
jigsaw puzzle; rickshaw; joystick; kimono; knee pad; knot; lab coat; ladle; lampshade; laptop; lawn mower; lens cap;
letter opener; library; lifeboat; lighter; limousine; ocean liner; lipstick; loafer shoe; lotion; loudspeaker;
magnifying glass; sawmill; magnetic compass; mailbag; mailbox; swimsuit; swimsuit; manhole cover; maraca; marimba;
mask; match; maypole; maze; measuring cup; medicine chest; megalith; microphone; microwave; military uniform; milk
churn; minibus; miniskirt; minivan; missile; mitten; mixing bowl; mobile home; vintage car; modem; monastery; monitor;
moped; mortar; mortarboard; mosque; mosquito net; motor scooter; mountain bike; mountain tent; computer mouse;
mousetrap; moving van; muzzle; nail; neck brace; necklace; baby teat; notebook computer; obelisk; oboe; ocarina;
odometer; oil filter; organ; oscilloscope; overskirt; oxcart; oxygen mask; packet; paddle; paddlewheel; padlock;
paintbrush; pyjamas; palace; panpipes; paper towel; parachute; parallel bars; park bench; parking meter; railway
carriage; patio; payphone; pedestal; pencil box; pencil sharpener; perfume bottle; Petri dish; photocopier; pickaxe;
pickelhaube; picket fence; pickup truck; pier; piggy bank; pill bottle; pillow; ping-pong ball; pinwheel; pirate ship;
pitcher; carpenter's plane; planetarium; plastic bag; plate rack; plough; plunger; instant camera; pole; police van;
poncho; pool table; soda bottle; plant pot; potter's wheel; power drill; prayer rug; printer; prison; rocket;
projector; hockey puck; punching bag; handbag; quill; quilt; racing car; racket; radiator; radio; radio telescope;
rain barrel; camper van; reel; reflex camera; refrigerator; remote control; restaurant; revolver; rifle; rocking
chair; rotisserie; eraser; rugby ball; ruler; running shoe; safe; safety pin; saltshaker; sandal; sarong; saxophone;
scabbard; scales; school bus; schooner; scoreboard; screen; screw; screwdriver; seat belt; sewing machine; shield;
shoe shop; paper screen; shopping basket; shopping cart; shovel; shower cap; shower curtain; ski; ski mask; sleeping
bag; slide rule; sliding door; slot machine; snorkel; snowmobile; snowplough; soap dispenser; soccer ball; sock; solar
collector; sombrero; soup bowl; space bar; space heater; space shuttle; spatula; speedboat; spider web; spindle;
sports car; spotlight; stage; steam locomotive; steel arch bridge; steel drum; stethoscope; stole; stone wall;
stopwatch; stove; strainer; tram; stretcher; sofa bed; stupa; submarine; suit; sundial; sunglasses; sunglasses;
sunscreen; suspension bridge; cotton swab; sweatshirt; swimming trunks; swing; light switch; syringe; table lamp;
tank; tape player; teapot; teddy bear; television; tennis ball; thatched roof; theater curtain; thimble; threshing
machine; throne; tile roof; toaster; tobacco shop; toilet seat; torch; totem pole; tow truck; toyshop; tractor;
articulated lorry; tray; trench coat; tricycle; trimaran; tripod; triumphal arch; trolleybus; trombone; tub;
turnstile; typewriter keyboard; umbrella; unicycle; upright piano; vacuum cleaner; vase; vaulted ceiling; velvet;
vending machine; vestment; viaduct; violin; volleyball; waffle iron; wall clock; wallet; wardrobe; warplane;
washbasin; washing machine; water bottle; water jug; water tower; whiskey jug; whistle; wig; window screen; window
shade; Windsor tie; wine bottle; aeroplane wing; wok; wooden spoon; wool; rail fence; shipwreck; yawl; yurt; website;
comic book; crossword puzzle; street sign; traffic light; book jacket; menu; plate; guacamole; consommé; hot pot;
trifle dessert; ice cream; ice lolly; baguette; bagel; pretzel; cheeseburger; hot dog; mashed potato; cabbage;
broccoli; cauliflower; courgette; spaghetti squash; acorn squash; butternut squash; cucumber; artichoke; bell pepper;
cardoon; mushroom; green apple; strawberry; orange; lemon; fig; pineapple; banana; jackfruit; custard apple;
pomegranate; hay; carbonara; chocolate sauce; dough; meat loaf; pizza; pot pie; burrito; red wine; espresso; cup;
eggnog; mountain; bubble; cliff; coral reef; geyser; lakeside; promontory; sandbar; seashore; valley; volcano;
baseball player; bridegroom; scuba diver; rapeseed; daisy; lady's slipper orchid; maize; acorn; rose hip; horse
chestnut; coral fungus; agaric; gyromitra; stinkhorn; earthstar; hen-of-the-woods; bolete; corn cob; toilet paper
"""

_COCO = """
1 person; 2 bicycle; 3 car; 4 motorcycle; 5 aeroplane; 6 bus; 7 train; 8 truck; 9 boat; 10 traffic light; 11 fire
hydrant; 13 stop sign; 14 parking meter; 15 bench; 16 bird; 17 cat; 18 dog; 19 horse; 20 sheep; 21 cow; 22 elephant;
23 bear; 24 zebra; 25 giraffe; 27 backpack; 28 umbrella; 31 handbag; 32 tie; 33 suitcase; 34 frisbee; 35 skis; 36
snowboard; 37 ball; 38 kite; 39 baseball bat; 40 baseball glove; 41 skateboard; 42 surfboard; 43 tennis racket; 44
bottle; 46 wine glass; 47 cup; 48 fork; 49 knife; 50 spoon; 51 bowl; 52 banana; 53 apple; 54 sandwich; 55 orange; 56
broccoli; 57 carrot; 58 hot dog; 59 pizza; 60 doughnut; 61 cake; 62 chair; 63 sofa; 64 potted plant; 65 bed; 67 dining
table; 70 toilet; 72 television; 73 laptop; 74 computer mouse; 75 remote control; 76 keyboard; 77 mobile phone; 78
microwave; 79 oven; 80 toaster; 81 sink; 82 refrigerator; 84 book; 85 clock; 86 vase; 87 scissors; 88 teddy bear; 89
hair dryer; 90 toothbrush
"""

_VEHICLES = """
aircraft carrier; airliner; airship; ambulance; amphibious vehicle; hot-air balloon; wheelbarrow; estate car; tandem
bicycle; bobsled; bullet train; taxi; canoe; catamaran; container ship; convertible; dogsled; electric locomotive;
fireboat; fire engine; forklift; freight car; garbage truck; go-kart; golfcart; gondola; half-track; combine
harvester; horse cart; jeep; rickshaw; lawn mower; lifeboat; limousine; ocean liner; minibus; minivan; mobile home;
vintage car; moped; motor scooter; mountain bike; moving van; oxcart; railway carriage; pickup truck; pirate ship;
plough; police van; racing car; camper van; school bus; schooner; snowmobile; snowplough; space shuttle; speedboat;
sports car; steam locomotive; tram; submarine; tank; threshing machine; tow truck; tractor; articulated lorry;
tricycle; trimaran; trolleybus; unicycle; warplane; aeroplane wing; shipwreck; yawl; missile; rocket
"""

_FURNITURE = """
barber chair; bassinet; bathtub; bookcase; chest; chest of drawers; china cabinet; cradle; cot; desk; dining table;
entertainment centre; filing cabinet; folding chair; four-poster bed; medicine chest; park bench; pool table; rocking
chair; paper screen; sofa bed; table lamp; throne; toilet seat; tub; wardrobe; washbasin; fire screen; pedestal
"""

_SCENES = """
altar; beehive; bakery; banister; barbershop; barn; lighthouse; bell tower; boathouse; bookshop; breakwater; butcher
shop; castle; chainlink fence; church; cinema; cliff dwelling; sweet shop; dam; dock; dome; drilling platform;
fountain; greenhouse; grocery store; home cinema; library; sawmill; manhole cover; maze; megalith; monastery; mosque;
obelisk; palace; patio; picket fence; pier; planetarium; prison; restaurant; shoe shop; sliding door; solar collector;
spider web; stage; steel arch bridge; stone wall; stupa; suspension bridge; thatched roof; tile roof; tobacco shop;
toyshop; triumphal arch; turnstile; vaulted ceiling; viaduct; water tower; rail fence; yurt; carousel; construction
crane; radio telescope; theater curtain; totem pole; maypole; website; window screen; honeycomb
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(" ".join(word.split()) for word in text.split(";"))


def _numbered(text: str) -> dict[int, str]:
    return {int(number): label for number, _, label in (word.partition(" ") for word in _words(text))}


IMAGENET: tuple[str, ...] = _words(_IMAGENET)
"""(1000,) the classifier's classes, in its order."""

COCO: Mapping[int, str] = MappingProxyType(_numbered(_COCO))
"""The detector's 80 classes."""

_THINGS = {
    **dict.fromkeys(_words(_VEHICLES), "vehicle"),
    **dict.fromkeys(_words(_FURNITURE), "furniture"),
    **dict.fromkeys(_words(_SCENES), "scene"),
    "cup": "product",
    "hay": "plant",
    "maize": "food",
    "corn cob": "food",
}

_RANGES: tuple[tuple[range, str], ...] = (
    (range(398), "animal"),
    (range(398, 924), "product"),
    (range(924, 970), "food"),
    (range(970, 981), "scene"),
    (range(981, 984), "person"),
    (range(984, 999), "plant"),
    (range(999, 1000), "product"),
)
"""The order of ILSVRC; names in ``_THINGS`` go first, from 398 on."""

IMAGENET_CATEGORIES: tuple[str, ...] = tuple(
    _THINGS.get(IMAGENET[number], category) if number >= 398 else category
    for numbers, category in _RANGES
    for number in numbers
)
"""(1000,) category of each class of ``IMAGENET``."""

_COCO_RANGES: tuple[tuple[range, str], ...] = (
    (range(1, 2), "person"),
    (range(2, 10), "vehicle"),
    (range(10, 15), "product"),
    (range(15, 16), "furniture"),
    (range(16, 26), "animal"),
    (range(26, 52), "product"),
    (range(52, 62), "food"),
    (range(62, 64), "furniture"),
    (range(64, 65), "plant"),
    (range(65, 71), "furniture"),
    (range(71, 91), "product"),
)

COCO_CATEGORIES: Mapping[int, str] = MappingProxyType(
    {number: category for numbers, category in _COCO_RANGES for number in numbers if number in COCO}
)
"""Category of each class of ``COCO``."""

FAMILIES: tuple[tuple[str, frozenset[int]], ...] = (
    ("bird", frozenset({*range(7, 25), *range(80, 101), *range(127, 147)})),
    ("lizard", frozenset(range(38, 49))),
    ("turtle", frozenset(range(33, 38))),
    ("snake", frozenset(range(52, 69))),
    ("spider", frozenset(range(72, 78))),
    ("frog", frozenset(range(30, 33))),
    ("dog", frozenset(range(151, 269))),
    ("cat", frozenset(range(281, 286))),
    ("bear", frozenset(range(294, 298))),
    ("beetle", frozenset(range(300, 308))),
    ("butterfly", frozenset(range(321, 327))),
    ("antelope", frozenset(range(351, 354))),
    ("monkey", frozenset(range(369, 383))),
    ("fish", frozenset({0, 1, *range(389, 398)})),
    ("car", frozenset({436, 468, 511, 609, 627, 656, 661, 751, 817})),
    ("truck", frozenset({555, 569, 675, 717, 864, 867})),
    ("boat", frozenset({472, 484, 554, 576, 625, 724, 780, 814, 871, 914})),
    ("guitar", frozenset({402, 546})),
    ("bottle", frozenset({440, 720, 737, 898, 907})),
    ("cup", frozenset({504, 968})),
    ("telephone", frozenset({487, 528, 707})),
    ("mushroom", frozenset(range(991, 998))),
)
"""Words for classes too alike to tell apart for sure: twelve kinds of terrier at 8% each are a dog at 96%."""
