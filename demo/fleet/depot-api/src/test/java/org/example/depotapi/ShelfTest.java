package org.example.depotapi;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class ShelfTest {
    @Test
    void behavesAsDescribed() throws Exception {
        Shelf shelf = new Shelf(10);
        assertEquals(2, shelf.put(12));
        assertEquals(10, shelf.pieces());
    }
}
