"""Texts of the probe items that tasks name. All were written for this file.

The last text of each list is longer than one window of 512 tokens. A package records a model's outputs for them, so a
change here changes the probes of every package that is exported afterwards.
"""

REVIEW = (
    "I booked this boat trip for my mother's birthday and I still do not know what to think of it. The skipper was "
    "kind, patient with the children and clearly in love with the coast; he knew every rock by its name. The lunch, "
    "on the other hand, was cold, and somebody had forgotten the bread. We saw two seals and one very bored dolphin. "
    "Then the rain came, the cabin leaked, and half of us spent the last hour under a tarpaulin, singing. My mother "
    "laughed until she cried. Would I pay that price a second time? Probably not. Would she go again tomorrow? She "
    "has already asked me twice. "
)

TEXTS = (
    "Marvellous",
    "no.",
    "I would not sit through this again if you paid me.",
    "THE BEST SOUP I HAVE HAD ALL YEAR!!!",
    "It isn't bad, but nobody would call it good, either; it's just there.",
    "Une soirée délicieuse : le café était très bon, l'accueil naïf mais charmant.",
    "这家店的面太咸了，等了一个小时，再也不来了。",
    "so happy with these 😍🎉 my dad wears them every day 👍🏽",
    "2/5 - came 3 days late, box torn, €14.99 wasted :-(",
    "Ünïcödé ﬁne print… and\ttabs\nand lines, “quotes” & <b>tags</b>: all of it arrived intact.",
    REVIEW * 5,
)

PAIRS = (
    ("Marvellous", "Great"),
    ("The skipper knew every rock by its name.", "The skipper knows the coast well."),
    ("Nobody on the boat had seen a seal before.", "Everybody on board had seen many seals."),
    ("My mother laughed until she cried.", "The lunch was served at noon."),
    ("How long does the ferry to the island take?", "What is the duration of the crossing to the island?"),
    ("Can I bring my dog on the boat?", "Can I bring my boat to the dog show?"),
    ("Le café était très bon.", "这家店的面太咸了。"),
    ("so happy with these 😍🎉", "my dad wears them every day 👍🏽"),
    ("The ticket costs €14.99, children travel for half.", "A child's ticket is about €7.50."),
    (REVIEW * 5, "It rained in the afternoon."),
)

TEXTS_WITH_NAMES = (
    "Marvellous",
    "Ada Lovelace",
    "Next Friday @skipper_tom takes the Saint Brendan from Galway to Inis Mór, weather permitting.",
    "my nan still swears by her Singer, bought at Arnotts on Henry Street in 1962 #sewing",
    "We read Ulysses in class; James Joyce would've laughed at O'Brien's essay.",
    "lost my phone at the AT&T store in São Paulo 😭 anyone from the Coca-Cola crew seen it??",
    "昨天我们在上海看了张艺谋的电影。",
    "IBM, NASA and the U.N. sent people; Bus Éireann sent a bus.",
    "http://example.org/a-b?c=d says it opens 3,000 seats at Croke Park\ton 9/11",
    REVIEW * 5 + "The Saint Brendan sails again from Galway on Sunday.",
)

QUESTIONS = (
    ("The lunch was cold.", "What was cold?", ("The lunch.", "The sea.")),
    (REVIEW, "What was wrong with the lunch?", ("It was late.", "It was cold.", "There was too much of it.")),
    (REVIEW, "Who laughed?", ("The skipper", "The children", "The dolphin", "The mother")),
    (
        "W: Is this seat taken?\nM: My wife is just getting us some tea.\nW: Then I'll stand.",
        "Where are they most probably?",
        ("In a café.", "At a bank.", "In a swimming pool."),
    ),
    ("The ferry leaves at 9 and at 11.", "How many ferries are there?", ("One", "Two", "Three", "Four", "Five")),
    ("The soup was salty, the bread was fresh.", "Which was good?", ("the soup", "the bread")),
    ("Le café ouvre à huit heures.", "When does the café open?", ("at 8 😀", "at noon", "never", "à minuit")),
    (REVIEW * 5, "Did the cabin leak?", ("no", "yes")),
)
