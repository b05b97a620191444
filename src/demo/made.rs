//! The demo's records: number n always has the same fate, so that the files can be checked without remembering any.

use crate::flow::tally::Code;

/// The log's number in every record, so that its line is known again.
const MARK: &str = "\"log_id\":";

/// What has to become of a record under the delivered settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Written,
    Filtered,
    Parked(Code),
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Item,
    Chat,
    Role,
    Login,
    /// Dropped by its name.
    Online,
    /// Dropped by a rule.
    InternalItem,
    /// Its text is cut.
    Cut,
    /// It names no player.
    Nobody,
    /// Of a project that has no settings.
    Stranger,
}

impl Kind {
    /// Of record number `n`: of 1000, 50 are filtered and 10 parked.
    pub fn of(n: u64) -> Kind {
        match mix(n) % 1000 {
            0..700 => Kind::Item,
            700..800 => Kind::Chat,
            800..880 => Kind::Role,
            880..940 => Kind::Login,
            940..970 => Kind::Online,
            970..990 => Kind::InternalItem,
            990..995 => Kind::Cut,
            995..998 => Kind::Nobody,
            _ => Kind::Stranger,
        }
    }

    pub fn fate(self) -> Fate {
        match self {
            Kind::Item | Kind::Chat | Kind::Role | Kind::Login => Fate::Written,
            Kind::Online | Kind::InternalItem => Fate::Filtered,
            Kind::Cut => Fate::Parked(Code::E05_JSON),
            Kind::Nobody => Fate::Parked(Code::E14_NO_ID),
            Kind::Stranger => Fate::Parked(Code::E10_APP_ID),
        }
    }
}

/// The value of record number `n`, of the time `now_s` in seconds since the epoch.
pub fn value(n: u64, now_s: i64) -> String {
    let random = mix(n ^ 0x5eed);
    let kind = Kind::of(n);
    let (role, server) = (6_001_310_000_000 + random % 100_000, 5001 + random % 40);
    let head = format!("{MARK}{n},\"mtime\":{now_s}");
    let (log_name, logs) = match kind {
        Kind::Item | Kind::InternalItem | Kind::Cut | Kind::Nobody | Kind::Stranger => {
            let internal = u8::from(kind == Kind::InternalItem);
            let player = if kind == Kind::Nobody { String::new() } else { format!("\"role_id\":{role},") };
            ("log_item", format!("{head},{player}{}", item(random, server, now_s, internal)))
        }
        Kind::Chat => ("log_chat", format!("{head},{}", chat(random, role, server))),
        Kind::Role => {
            let (vip, level, power) = (random % 16, 1 + random % 800, random % 90_000_000);
            let text = format!("\"role_id\":{role},\"vip\":\"{vip}\",\"role_level\":{level},\"power\":{power}");
            ("log_role", format!("{head},{text},\"guild_id\":{},\"title\":null", 90_071_992_547_000_000 + random % 500))
        }
        Kind::Login => {
            let text = format!("\"role_id\":{role},\"server_id\":{server},\"network\":\"wifi\",\"os\":\"android\"");
            ("log_login", format!("{head},{text},\"device\":\"{:032x}\"", u128::from(random) << 50))
        }
        Kind::Online => ("tbllog_online", format!("{head},\"server_id\":{server},\"players\":{}", random % 4000)),
    };
    let app_id = if kind == Kind::Stranger { 77 } else { 24 };
    let mut text = format!("{{\"headers\":{{\"app_id\":{app_id},\"log_name\":\"{log_name}\"}},\"logs\":{{{logs}}}}}");
    if kind == Kind::Cut {
        text.truncate(text.len() - 2);
    }
    text
}

/// The number of the record that a line, or a parked payload, came from.
pub fn number(text: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(text, MARK.as_bytes())? + MARK.len();
    let digits = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()
}

fn item(random: u64, server: u64, now_s: i64, internal: u8) -> String {
    let (account, platform) = (4_866_000_000 + random % 1_000_000, 3100 + random % 9);
    let (item, amount, level) = (31_103_000 + random % 500, random % 2000, 1 + random % 800);
    format!(
        "\"account_name\":\"{account}\",\"action\":2146,\"agent_id\":36,\"amount\":{amount},\"bag_amount\":0,\
         \"bag_type\":0,\"bind_type\":1,\"client_version\":\"1.18.3\",\"device_id\":\"\",\"end_time\":0,\"idfa\":\"\",\
         \"imei\":\"\",\"is_internal\":{internal},\"item_id\":{item},\"mac\":\"\",\"pid\":{now_s}000008,\
         \"platform\":{platform},\"quality\":0,\"regrow\":14,\"role_level\":{level},\"server_id\":{server},\
         \"server_version\":\"\",\"sn\":\"{random:016X}\",\"star\":0,\"start_time\":{now_s},\"upf\":{platform},\
         \"via\":\"36|{platform}\",\"zero_dateline\":{}",
        now_s / 86_400 * 86_400 - 28_800
    )
}

fn chat(random: u64, role: u64, server: u64) -> String {
    let said = ["\\u4f60\\u597d\\uff01", "世界频道 \\\"组队\\\"", "anyone for the tower?", "+1"][(random % 4) as usize];
    format!(
        "\"role_id\":{role},\"server_id\":{server},\"ip\":\"203.0.113.{}\",\"channel\":\"world\",\"msg\":\"{said}\",\
         \"team\":[{{\"id\":1}},{{\"id\":2}}],\"price\":1.50",
        random % 256
    )
}

/// SplitMix64's scrambler.
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
