package org.example.stamp;

import java.time.Instant;

/** What was built: a commit and the time of that commit. */
public record Stamp(String commit, Instant time) {
    public Stamp {
        if (!commit.matches("[0-9a-f]{40}")) {
            throw new IllegalArgumentException("not a full commit: " + commit);
        }
    }

    /** Reads the line that {@link #line()} wrote. */
    public static Stamp parse(String line) {
        int space = line.indexOf(' ');
        return new Stamp(line.substring(0, space), Instant.parse(line.substring(space + 1)));
    }

    public String line() {
        return commit + " " + time;
    }
}
