package org.example.stamp;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.Instant;
import org.junit.jupiter.api.Test;

class StampTest {
    @Test
    void aLineReadsBack() {
        Stamp stamp = new Stamp("a".repeat(40), Instant.parse("2024-02-29T12:00:00Z"));
        assertEquals(stamp, Stamp.parse(stamp.line()));
    }
}
