//! The mixing function of SplitMix64, from which all random choices of this crate derive.

/// The increment of the counter that [`scramble`] turns into random bits: 2⁶⁴ divided by the golden ratio, odd.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Turns a counter into random bits, by the bijection of SplitMix64.
///
/// # Source
///
/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014), with the constants of David
/// Stafford's "Mix13".
#[inline(always)]
pub fn scramble(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Turns a name into random bits, by which whatever has different names gets different random numbers.
pub fn scramble_name(name: &str) -> u64 {
    name.bytes().fold(STEP, |bits, byte| scramble(bits.wrapping_add(STEP) ^ u64::from(byte)))
}
