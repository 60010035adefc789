//! Names of images: what parses prints, and parses again to the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nman::reference::Reference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let printed = reference.to_string();
        assert_eq!(printed.parse::<Reference>().as_ref(), Ok(&reference), "{text} is {printed}");
    }
});
