//! Which names TE takes: for events and properties, its own presets, and the keys at the top of a line.

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

/// `^[A-Za-z][A-Za-z0-9_]{0,49}$`
#[inline]
pub fn is_legal(name: &[u8]) -> bool {
    name.len() <= 50
        && name.first().is_some_and(u8::is_ascii_alphabetic)
        && name.iter().fold(true, |legal, &byte| legal & LEGAL[usize::from(byte)])
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
