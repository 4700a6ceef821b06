//! Bytes that no well-meaning program makes, for the tests of everything that reads bytes of strangers.

mod harm;
mod message;

use proptest::prelude::*;

use harm::harm;

/// How many hostile inputs all these tests together try unless `HOSTILE_CASES` says otherwise.
const USUAL: u32 = 20_000;

/// A configuration for a test that tries `share` of every 1,000 inputs, `each` of them in one case.
pub fn config(share: u32, each: u32) -> ProptestConfig {
    let all = std::env::var("HOSTILE_CASES").map_or(USUAL, |all| all.parse().unwrap());
    let cases = (u64::from(all) * u64::from(share) / 1_000).div_ceil(u64::from(each));
    ProptestConfig { cases: u32::try_from(cases).unwrap(), ..ProptestConfig::default() }
}

/// These bytes of a message, mostly after some harm; now and then any bytes at all.
pub fn harmed(message: impl Strategy<Value = Vec<u8>> + 'static) -> BoxedStrategy<Vec<u8>> {
    let some = prop_oneof![2 => 0..1_usize, 5 => 1..2_usize, 3 => 2..6_usize];
    let harms = some.prop_flat_map(|count| prop::collection::vec(harm(), count));
    prop_oneof![
        24 => (message, harms).prop_map(|(message, harms)| harms.iter().fold(message, |bytes, harm| harm.done_to(bytes))),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ].boxed()
}

/// Numbers at which something may go wrong.
pub fn edge() -> BoxedStrategy<u64> {
    prop_oneof![
        3 => prop::sample::select(vec![0, 1, 2, 127, 128, 16_383, 1 << 31, 1 << 32, (1 << 53) + 1, 1 << 62, 1 << 63]),
        2 => prop::sample::select(vec![(1 << 31) - 1, (1 << 32) - 1, (1 << 63) - 1, u64::MAX - 1, u64::MAX]),
        1 => any::<u64>(),
        2 => 0..30_u64,
    ]
    .boxed()
}
