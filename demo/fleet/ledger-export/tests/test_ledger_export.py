from ledger_export import record


def test_records_are_sixty_four_characters():
    assert len(record("1200", -4250, "Office chairs")) == 64
