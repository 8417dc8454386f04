from geotiles import tile


def test_the_origin_is_in_the_middle():
    assert tile(0.0, 0.0, 1) == (1, 1)
