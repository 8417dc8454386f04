#![no_main]

#[expect(dead_code, reason = "one target carries out one check")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::request(data));
