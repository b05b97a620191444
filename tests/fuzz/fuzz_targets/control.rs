//! Arbitrary bytes at the control socket, in pieces: they are requests or refused, however they arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logmill::ctl::frame::{Cut, Frame};
use logmill::ctl::protocol::Asked;

/// All that comes of the bytes, taken in pieces of `step`.
fn cuts(bytes: &[u8], step: usize) -> Vec<Cut> {
    let mut frame = Frame::default();
    let mut all = Vec::new();
    for piece in bytes.chunks(step) {
        frame.push(piece);
        loop {
            match frame.next_request() {
                Cut::More => break,
                refused @ Cut::Refused(_) => {
                    all.push(refused);
                    return all;
                }
                request => all.push(request),
            }
        }
    }
    all
}

fuzz_target!(|bytes: &[u8]| {
    let Some((step, bytes)) = bytes.split_first() else { return };
    let found = cuts(bytes, usize::from(*step) + 1);
    assert_eq!(found, cuts(bytes, bytes.len().max(1)));
    for cut in found {
        if let Cut::Request(request) = cut {
            let _ = Asked::parse(&request);
        }
    }
});
