"""The words of the generic corpus: domains, acts and phrases that have nothing to do with a shop."""

from pathlib import Path

ENTITIES = (
    "booking ticket patient vehicle invoice flight shipment student course member claim contract project task recipe "
    "playlist room lesson parcel subscription account loan visit event table permit package document license report "
    "item appointment guest client driver tenant reader player employee record machine plan order product"
).split()
PERSONS = "user customer guest client member patient student tenant driver reader player employee visitor".split()
ACTS = (
    "cancel update close open approve renew modify return exchange extend pause resume delete archive transfer "
    "upgrade refund assign schedule release check confirm reject register move change"
).split()
ADJECTIVES = (
    "pending active delivered open late new old primary monthly premium express basic green red blue black white "
    "silver gold small medium large heavy light digital wooden metal plastic glass leather wireless fast quiet family "
    "single double wide short soft hard warm cold bright dark round square thin thick yellow purple orange grey"
).split()
NOUNS = (
    "lamp chair desk bottle engine garden camera speaker bag shoe watch window ticket river mountain piano guitar "
    "bread coffee tea bridge tower sofa carpet kettle printer phone tablet bicycle tent jacket mirror clock pillow "
    "blanket basket hammer ladder helmet keyboard monitor puzzle shelf shirt cleaner laptop book backpack ball mouse "
    "light cup table pan oven charger cable fan scale mat bench drill glove scarf hat boot bed door wall board pen"
).split()
ATTRIBUTES = (
    "type color size level priority region plan brand model grade mode capacity length material storage power "
    "band height width weight style shape pattern speed finish"
).split()
FREE_FIELDS = "reason comment note status date amount name title".split()
READS = "get fetch read load show lookup view".split()
SUFFIXES = "details info record profile data summary".split()
STATUSES = "active pending processed delivered open closed cancelled shipped ready blocked".split()
PAYMENTS = "credit_card paypal gift_card bank_account voucher debit_card wallet".split()
SYLLABLES = (
    "ba be bi bo da de di do fa fi ka ke ki ko la le li lo lu ma me mi mo na ne ni no pa pe po ra re ri ro ru sa se "
    "si so ta te ti to va vi za zo han ber lin mar ton sen gar mel dor vin ash ock ell ith ump qua"
).split()
FIRST_NAMES = (
    "Anna Ben Carla David Elena Frank Gina Henry Iris Jack Karen Leo Maria Nick Oscar Paula Rita Sam Tina Ursula "
    "Victor Wendy Yvonne Zoe Adam Bella Chris Diana Noah Emma Liam Ava Ivan Grace Rose Mark"
).split()
LAST_NAMES = (
    "Adams Baker Clark Dixon Evans Foster Green Hill Irwin King Lewis Moore Nelson Owens Parker Quinn Ross Scott "
    "Turner Vega White Young Brown Smith Lee Kim Cook Price Stone Fields"
).split()
STREETS = "Street Avenue Road Lane Drive Court Way Place Boulevard Park Square".split()
CITIES = (
    "Denver Austin Chicago Seattle Boston Dallas Miami Portland Houston Paris Berlin Madrid Oslo Lima Leeds".split()
)
STATES = (
    "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR PA "
    "RI SC SD TN TX UT VT VA WA WV WI WY DC"
).split()
COUNTRIES = "USA Canada UK".split()
UNITS = "Apt Suite Unit Floor".split()

GREETINGS = (
    "Hi", "Hello", "Hey", "Good day", "Hi there", "Hello there", "Dear team", "Good morning", "Good evening",
)  # fmt: skip
CHAT = (
    "I hope you can help me.", "Sorry to bother you.", "It is a bit urgent.", "This is my first time here.",
    "I have been waiting all week.", "The weather is awful today.", "My dog is barking, excuse me.", "I am at work.",
    "I like your service by the way.", "I am a bit tired today.", "It has been a long day.", "My children are loud.",
    "I am in a hurry.", "I am not good with computers.", "You have been kind so far.", "I tried it on my own before.",
)  # fmt: skip
ASKS = (
    "I want to {w}", "please {w}", "can you {w}", "I need to {w}", "help me {w}", "I'd like to {w}",
    "could you {w}", "{w} please", "is it possible to {w}", "my wish is to {w}", "I would like you to {w}",
    "would you {w}", "I have to {w}", "let us {w}", "go ahead and {w}", "I was hoping to {w}", "may I {w}",
    "I am writing to {w}", "what I need is to {w}", "time to {w}",
)  # fmt: skip
YES = (
    "yes", "Yes, please.", "ok do it", "sure", "confirmed", "yes go ahead", "correct", "please proceed", "fine",
    "That is right.", "Yes, that works.", "Sounds good.", "absolutely", "Of course, do it.", "I agree.", "please do",
)  # fmt: skip
NO = (
    "no", "No, stop.", "wait, not now", "no thanks", "I changed my mind", "leave it", "No, keep it as it is.",
    "Actually, no.", "Hold on, do not do it.", "never mind", "Better not.", "forget it",
)  # fmt: skip
THANKS = (
    "thanks", "bye", "thank you, that is all", "great", "Thanks for your help.", "That was all.", "No, nothing else.",
    "That is everything, thank you.", "perfect, good day",
)  # fmt: skip
MORE = ("I also have another request.", "One more thing.", "Also,", "Another thing:", "Next,", "Then", "And", "")
ASK_IDENTITY = (
    "Who are you?", "Please identify yourself.", "I need to find your account first. Who are you?",
    "I can help with that. Please give me your email, or your name and zip code.", "Could you share your details?",
)  # fmt: skip
OFFER = ("How can I help you?", "I found you. What do you need?", "Thank you. What can I do for you?")
DONE = ("Done. Anything else?", "It is done.", "All set. Can I help with more?", "Done.", "It is done. Anything else?")
KEPT = ("Ok, nothing was changed.", "I left everything as it is. Anything else?", "No problem. Anything else?")
BYE = ("You are welcome.", "Goodbye!", "You are welcome! Have a nice day.", "Happy to help.")
WHERE = (
    "where is my {n}", "what is the status of my {n}", "I lost the number, it is the one with the {n}",
    "what about the {n}", "I am waiting for the {n}", "can you look for my {n}", "when do I get the {n}",
    "any news of my {n}", "tell me how the {n} stands", "did my {n} leave yet", "find the {n} for me",
    "I would like to know about the {n}", "look up the {n}, I have no number for it",
)  # fmt: skip
NOT_YOURS = (
    "I am sorry, I do not find {n} {i} under your name.", "There is no {n} {i} of yours, so I cannot do that.",
    "Sorry, {i} is not one of yours.",
)  # fmt: skip
AS_BEFORE = ("the same as before", "the original payment", "the original one", "what I paid with", "the one I used")
PAY_WITH = (
    "with {}", "use {}", "pay with {}", "take {} for it", "I pay with {}", "{} for the payment", "put it on {}",
    "for the money, {}",
)  # fmt: skip
PAY_ANSWERS = ("{}", "use {}", "with {} please", "{} please", "take {}", "I want {}", "let us take {}", "{} is fine")
WAYS = ("Which payment method should I use?", "How do you want to pay?", "Which payment method?")

# Capital letters make a name of a word, and a name is a slot that says nothing; but of an address the parts must be
# told apart, so these stand for themselves.
ADDRESS_WORDS = [*STREETS, *COUNTRIES, *UNITS]
# Words of tool interfaces and of service talk that a list of common English words lacks.
INTERFACE_WORDS = (
    "I id ids email zip postcode phone url uuid api json details info metadata username password address1 address2 "
    "line1 line2 first last user_id usa uk ok payment payments paypal visa mastercard gift refund refunds shipping "
    "shipment tracking pending cancelled canceled cancellation processed delivered profile suite apt unit floor "
    "avenue boulevard variant variants sku agent agents chat account login default brand expression summary query "
    "update updated lookup fetch upgrade renew archive modify modified exchange exchanged returned replaced replace "
    "swap swapped mistake accident accidentally cheaper anymore dont hello hi hey bye goodbye thanks please sorry yes "
    "no options option available unavailable quantity stock category source type status reason amount price total "
    "balance transaction history difference item items product products customer wallet voucher debit bank credit "
    "card cards four method methods request requested authenticate verify verified human representative supervisor "
    "transfer transferred policy confirm confirmed confirmation decline declined refuse sir madam folks folk urgent "
    "backpack lamp kettle laptop headphones keyboard monitor helmet jacket pillow blanket puzzle sofa shelf scarf "
    "bicycle tent speaker camera tablet charger cable mirror carpet basket ladder drill glove boot bench wireless "
    "wooden leather cotton wool steel plastic silver gold grey gray purple yellow orange beige navy pink teal "
    "medium capacity storage connectivity length width height weight finish pattern sized extra inch liter "
    "cancel cancels cancelling canceling cancellations proceed proceeding okay alright yep yeah yup nope PayPal "
    "birthday wedding sister brother mom dad kids dog cat neighbor neighbour roommate uncle aunt wife husband boss "
    "upset angry loud noisy worried confused lovely perfect fantastic awful terrible awesome wonderful honest "
    "gb tb mb cm mm kg lb oz ft ml watt watts volt cups packs pack pieces wood wooden steel bamboo ceramic linen "
    "shoe shoes pot pots pan towel towels rug mug mugs sweater boots gloves hose curtain notebook bookshelf bag bags "
    "toaster blender kitchen bathroom bedroom lane oak maple cedar pine park sunset lake hill grove "
    "fulfillment fulfillments cart basket checkout invoice coupon discount warranty fragile package parcels courier "
    "swapping swaps exchanging returning refunded refunding refunds replaces replacing replacement modification "
    "modifying adjust adjustment edit edited editing correction corrected typo postal location residence resident "
    "true false null greetings evening morning afternoon howdy cheers regards kindly hurry annoyed frustrated upset "
    "wrong arrived ordered ordering bought purchased purchase mailed ship shipped ships unshipped redirect moved "
    "moving relocated apartment doesn isn didn won couldn wouldn haven hasn shouldn aren wasn ve ll re m s t d"
).split()

# Any word may be the value of an attribute: a network that copies only words it has seen as values copies few.
COMMON_WORDS = tuple(w for w in (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split() if len(w) > 2)
