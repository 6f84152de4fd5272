//! What must hold of each parser whatever its input is; `fuzz_targets/` makes a program of each of these functions.
//!
//! An input is nothing but the bytes that the parser is given, so that what a server or a user really sent can be a
//! seed; what else a check needs (where to cut, which hint) follows from these bytes. A panic is a finding, and so is
//! memory beyond the bound of the check.

pub mod command_line;
pub mod control;
pub mod listings;
pub mod names;
pub mod passive;
pub mod times;

use std::alloc::System;

use cap::Cap;

/// Bytes that a password is made of in the checks that look for it where it must not be. No part of a message
/// of ours is like it.
const MARKER: &[u8] = b"zqXK7vWj";

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Runs `check` with at most `bytes` of memory more than now; what asks for more is ended.
fn within<T>(bytes: usize, check: impl FnOnce() -> T) -> T {
    let limit = |limit| assert_eq!(MEMORY.set_limit(limit), Ok(()), "more memory is in use");
    limit(MEMORY.allocated() + bytes);
    let outcome = check();
    limit(usize::MAX);
    outcome
}

/// A number that follows from the bytes and looks like chance.
fn chance(data: &[u8]) -> u64 {
    data.iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The input as a network might cut it: most pieces are short, none is empty.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut seed) = (data, chance(data) | 1);
    std::iter::from_fn(move || {
        // The generator of Numerical Recipes; its upper bits are the good ones.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let longest = if seed >> 62 == 0 { 1 } else { 40 };
        let (piece, tail) = rest.split_at(rest.len().min(1 + (seed >> 33) as usize % longest));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
