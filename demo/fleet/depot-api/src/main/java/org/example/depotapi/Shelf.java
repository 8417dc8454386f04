package org.example.depotapi;

/** Stock of one shelf; never below zero. */
public final class Shelf {
    private final int capacity;
    private int pieces;

    public Shelf(int capacity) {
        if (capacity < 1) {
            throw new IllegalArgumentException("capacity must be at least one, not " + capacity);
        }
        this.capacity = capacity;
    }

    /** Puts pieces on the shelf and returns how many did not fit. */
    public int put(int count) {
        int fitting = Math.min(count, capacity - pieces);
        pieces += fitting;
        return count - fitting;
    }

    public int pieces() {
        return pieces;
    }
}
