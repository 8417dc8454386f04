package org.example.depotclient;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class RetryTest {
    @Test
    void behavesAsDescribed() throws Exception {
        int[] calls = {0};
        int result = new Retry(3).call(() -> {
            if (++calls[0] < 3) {
                throw new IllegalStateException("not yet");
            }
            return calls[0];
        });
        assertEquals(3, result);
    }
}
