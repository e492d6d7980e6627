use jiff::Timestamp;

/// The instant to judge expiries by, and whether the clock can be trusted.
///
/// `floor` is the newest instant that is certainly past: when the running system was built, or when the last verified
/// timestamp role was signed. A clock before it is wrong, so it counts as standing at it.
pub fn effective_now(clock: Timestamp, floor: Timestamp) -> (Timestamp, bool) {
    if clock < floor {
        (floor, false)
    } else {
        (clock, true)
    }
}

/// TUF's `expires`: `YYYY-MM-DDTHH:MM:SSZ` and no other spelling (specification, section 4.2.1).
///
/// Read and written by hand, since jiff's parser and printer of every format there is are an eighth of the verifier's size.
pub(crate) mod tuf {
    use jiff::Timestamp;
    use jiff::civil::DateTime;
    use jiff::tz::Offset;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Whole seconds; a fraction is cut off.
    pub fn write(instant: Timestamp) -> String {
        let at = Offset::UTC.to_datetime(instant);
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second()
        )
    }

    pub fn parse(text: &str) -> Option<Timestamp> {
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            let all = digits.bytes().all(|byte| byte.is_ascii_digit());
            if all { digits.parse::<i16>().ok() } else { None }
        };
        let two = |from: usize| i8::try_from(number(from, from + 2)?).ok();
        let at = DateTime::new(number(0, 4)?, two(5)?, two(8)?, two(11)?, two(14)?, two(17)?, 0).ok()?;
        let instant = Offset::UTC.to_timestamp(at).ok()?;
        // The one spelling is the one that we would write.
        (write(instant) == text).then_some(instant)
    }

    pub fn serialize<S: Serializer>(instant: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&write(*instant))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            D::Error::custom(format!(
                "{shown:?} is not an instant of the form YYYY-MM-DDTHH:MM:SSZ"
            ))
        })
    }

    /// The same for a field that may be absent.
    pub mod optional {
        use jiff::Timestamp;
        use serde::{Deserializer, Serialize, Serializer};

        pub fn serialize<S: Serializer>(
            instant: &Option<Timestamp>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            instant.map(super::write).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        let text = "2026-11-20T12:00:00Z";
        assert_eq!(tuf::write(tuf::parse(text).unwrap()), text);
        for refused in [
            "2026-11-20T12:00:00.5Z",
            "2026-11-20T12:00:00+00:00",
            "2026-11-20T12:00:00z",
            "2026-11-20 12:00:00Z",
            "2026-11-20T12:00Z",
            "2026-13-20T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T12:00:60Z",
            "+026-11-20T12:00:00Z",
            "2026-11-20T12:00:00ZZ",
            "2026-11-20T12:00:0éZ",
            "9999-12-31T23:59:59Z",
            "",
        ] {
            assert_eq!(tuf::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn it_agrees_with_jiff() {
        // Every 11 days and some hours from the year 0 on: leap years of all kinds, first and last days.
        let first: Timestamp = "0000-01-01T00:00:00Z".parse().unwrap();
        let mut tried = 0;
        for step in 0..330_000_i64 {
            let Ok(instant) = Timestamp::from_second(first.as_second() + step * 953_467) else {
                break;
            };
            let text = instant.to_string();
            assert_eq!(tuf::write(instant), text);
            assert_eq!(tuf::parse(&text), Some(instant));
            tried += 1;
        }
        assert!(tried > 300_000);
    }

    #[test]
    fn a_fraction_is_cut_off_when_written() {
        let instant: Timestamp = "2026-11-20T12:00:00.999Z".parse().unwrap();
        assert_eq!(tuf::write(instant), "2026-11-20T12:00:00Z");
    }

    #[test]
    fn a_clock_before_the_floor_stands_at_it() {
        let (early, late) = (Timestamp::UNIX_EPOCH, "2026-11-20T12:00:00Z".parse().unwrap());
        assert_eq!(effective_now(early, late), (late, false));
        assert_eq!(effective_now(late, early), (late, true));
        assert_eq!(effective_now(late, late), (late, true));
    }
}
