#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| workstead::testkit::fuzz::plaintext(data));
