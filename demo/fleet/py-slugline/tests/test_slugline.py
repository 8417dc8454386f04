from slugline import slug


def test_accents_and_punctuation_are_dropped():
    assert slug("Café au lait: ça va?") == "cafe-au-lait-ca-va"


def test_cuts_between_words():
    assert slug("one two three", limit=8) == "one-two"
