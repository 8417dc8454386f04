from wordcase import camel, snake


def test_acronyms_stay_together():
    assert snake("parseHTTPHeader") == "parse_http_header"


def test_camel():
    assert camel("first_word-last") == "firstWordLast"
