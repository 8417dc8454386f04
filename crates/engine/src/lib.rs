//! The rules as pure functions: match, decide, apply, effects, retry, wave, gate, budget arithmetic, diff classes.
