//! Numbers and instants as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// An instant for people and for programs.
#[derive(Debug, Clone)]
pub struct Moment {
    /// RFC 3339 in UTC.
    pub iso: String,
    /// In the repository's zone, which it names.
    pub text: String,
    /// The same without the year.
    pub near: String,
    /// The day alone.
    pub day: String,
}

impl Moment {
    /// An instant in a zone.
    pub fn new(instant: Timestamp, zone: &TimeZone) -> Self {
        let local = instant.to_zoned(zone.clone());
        Self {
            iso: instant.to_string(),
            text: local.strftime("%a %-d %b %Y, %H:%M %Z").to_string(),
            near: local.strftime("%a %-d %b, %H:%M %Z").to_string(),
            day: local.strftime("%-d %B %Y").to_string(),
        }
    }
}

/// Bytes in decimal units, three significant digits.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or("kB");
    for larger in units {
        // 999.5 would be shown as 1000.
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    match value {
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A share in percent: whole, except where that would say nothing or everything too early.
pub fn percent(share: f64) -> String {
    match share {
        share if share <= 0.0 || share >= 100.0 => format!("{share:.0} %"),
        share if share < 9.95 => format!("{share:.1} %"),
        share => format!("{:.0} %", share.min(99.0)),
    }
}

/// A count and its noun.
pub fn count(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_494_321, "9.49 MB"),
            (99_960_000, "100 MB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (587_000_000, "587 MB"),
            (u64::MAX, "18447 PB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn shares() {
        let cases = [
            (0.0, "0 %"),
            (0.04, "0.0 %"),
            (2.0, "2.0 %"),
            (35.4, "35 %"),
            (99.7, "99 %"),
            (100.0, "100 %"),
        ];
        for (share, text) in cases {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn moments_name_their_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let moment = Moment::new("2026-11-20T12:00:00Z".parse().unwrap(), &zone);
        assert_eq!(moment.text, "Fri 20 Nov 2026, 13:00 CET");
        assert_eq!(moment.iso, "2026-11-20T12:00:00Z");
    }
}
