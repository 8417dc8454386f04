package org.example.depotclient;

import java.util.concurrent.Callable;

/** Calls something again until it succeeds or the attempts are used up. */
public final class Retry {
    private final int attempts;

    public Retry(int attempts) {
        this.attempts = Math.max(1, attempts);
    }

    public <T> T call(Callable<T> action) throws Exception {
        Exception last = null;
        for (int attempt = 0; attempt < attempts; attempt++) {
            try {
                return action.call();
            } catch (Exception failure) {
                last = failure;
            }
        }
        throw last;
    }
}
