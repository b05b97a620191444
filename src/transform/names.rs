//! Which names TE takes: for events and properties, its own presets, and the keys at the top of a line.

use super::json_text::HIGHS;

/// How the name of a member of `logs` is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameClass {
    /// Becomes a property.
    Property,
    /// A key at the top of the line: settings say where it comes from, it is not copied.
    TopLevel,
    Bad,
}

/// The `#` names that may stand in `properties`.
pub const PRESETS: &[&str] = &[
    "#lib",
    "#lib_version",
    "#zone_offset",
    "#country",
    "#country_code",
    "#province",
    "#city",
    "#os",
    "#os_version",
    "#device_id",
    "#device_model",
    "#device_type",
    "#manufacturer",
    "#carrier",
    "#network_type",
    "#app_version",
    "#bundle_id",
    "#screen_width",
    "#screen_height",
    "#system_language",
    "#browser",
    "#browser_version",
    "#ua",
    "#install_time",
    "#simulator",
    "#ram",
    "#disk",
    "#fps",
    "#duration",
];

/// The keys at the top of a line, in the order in which they are written.
pub const TOP_LEVEL: &[&str] = &[
    "#account_id",
    "#app_id",
    "#distinct_id",
    "#event_id",
    "#event_name",
    "#first_check_id",
    "#import_tool_id",
    "#ip",
    "#time",
    "#transaction_property",
    "#type",
    "#uuid",
];

#[inline]
pub fn class(name: &[u8]) -> NameClass {
    let is_one_of = |list: &[&str]| list.iter().any(|known| known.as_bytes() == name);
    if is_legal(name) {
        NameClass::Property
    } else if name.first() != Some(&b'#') {
        NameClass::Bad
    } else if is_one_of(PRESETS) {
        NameClass::Property
    } else if is_one_of(TOP_LEVEL) {
        NameClass::TopLevel
    } else {
        NameClass::Bad
    }
}

/// Characters of a name.
pub const LEN_MAX: usize = 50;

/// `^[A-Za-z][A-Za-z0-9_]{0,49}$`
#[inline]
pub fn is_legal(name: &[u8]) -> bool {
    if name.len() > LEN_MAX || !name.first().is_some_and(u8::is_ascii_alphabetic) {
        return false;
    }
    // The last eight bytes overlap those before.
    match name.last_chunk::<8>() {
        Some(last) => eight_legal(last) && name.as_chunks::<8>().0.iter().all(eight_legal),
        None => name.iter().fold(true, |legal, &byte| legal & LEGAL[usize::from(byte)]),
    }
}

/// True if all eight are letters, digits or `_`.
#[inline]
fn eight_legal(bytes: &[u8; 8]) -> bool {
    legal_marks(u64::from_le_bytes(*bytes)) & HIGHS == HIGHS
}

/// The high bit of each byte says whether it is a letter, a digit or `_`.
#[inline]
pub fn legal_marks(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Bytes below 0x80 only, so that no sum carries; then a sum's high bit says whether its byte reaches `from`.
    let from = |word: u64, from: u8| word + ONES * u64::from(0x80 - from);
    let ascii = word & (ONES * 0x7F);
    let lower = ascii | (ONES * 0x20);
    let letter = from(lower, b'a') & !from(lower, b'z' + 1);
    let digit = from(ascii, b'0') & !from(ascii, b'9' + 1);
    let underscore = !from(ascii ^ (ONES * u64::from(b'_')), 1);
    (letter | digit | underscore) & !word
}

const LEGAL: [bool; 256] = {
    let mut legal = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        legal[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
        byte += 1;
    }
    legal
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_judged_in_every_place() {
        for byte in 0..=255u8 {
            let legal = byte.is_ascii_alphanumeric() || byte == b'_';
            for (len, at) in (2..20).flat_map(|len| (1..len).map(move |at| (len, at))) {
                let mut name = vec![b'z'; len];
                name[at] = byte;
                assert_eq!(is_legal(&name), legal, "{byte} at {at} of {len}");
            }
            assert_eq!(is_legal(&[byte]), byte.is_ascii_alphabetic());
        }
    }

    #[test]
    fn names_are_classed() {
        let long = "a".repeat(50);
        for name in ["a", "Z9_", &long, "#os", "#duration"] {
            assert_eq!(class(name.as_bytes()), NameClass::Property, "{name}");
        }
        let longer = "a".repeat(51);
        for name in ["", "_u", "9lives", "a-b", "中文", "aé", "#", "#foo", "#OS", "a\n", &longer, "a b"] {
            assert_eq!(class(name.as_bytes()), NameClass::Bad, "{name}");
        }
        assert!(TOP_LEVEL.iter().all(|name| class(name.as_bytes()) == NameClass::TopLevel));
        assert!(TOP_LEVEL.is_sorted());
    }
}
