use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::ISOWeekDate;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// The ISO 8601 week that a build leaves in, such as `2026-W47`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Train {
    year: u16,
    week: u8,
}

/// A train or sequence that breaks its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The text is not `YYYY-Www`.
    #[error("{0:?} is not a train: YYYY-Www, such as 2026-W47")]
    Form(String),
    /// Not every year has a week 53.
    #[error("the year {year} has no ISO week {week}")]
    NoSuchWeek {
        /// ISO week-numbering year.
        year: u16,
        /// ISO week.
        week: u8,
    },
}

impl Train {
    /// The train of an ISO week-numbering year (1970 to 9999) and week (1 to 53).
    pub fn new(year: u16, week: u8) -> Result<Self, TrainError> {
        let refuse = || TrainError::NoSuchWeek { year, week };
        let week_signed = i8::try_from(week).map_err(|_| refuse())?;
        let year_signed = i16::try_from(year).map_err(|_| refuse())?;
        if !(1970..=9999).contains(&year) {
            return Err(refuse());
        }
        ISOWeekDate::new(year_signed, week_signed, jiff::civil::Weekday::Monday).map_err(|_| refuse())?;
        Ok(Self { year, week })
    }

    /// The train that is leaving at an instant, in the repository's time zone.
    pub fn at(instant: Timestamp, zone: &TimeZone) -> Result<Self, TrainError> {
        let date = instant.to_zoned(zone.clone()).date().iso_week_date();
        let year = u16::try_from(date.year()).map_err(|_| TrainError::Form(date.year().to_string()))?;
        Self::new(year, date.week().unsigned_abs())
    }
}

impl FromStr for Train {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        let refuse = || TrainError::Form(text.chars().take(20).collect());
        let (year, week) = text.split_once("-W").ok_or_else(refuse)?;
        let digits =
            |part: &str, length| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(year, 4) || !digits(week, 2) {
            return Err(refuse());
        }
        Self::new(
            year.parse().map_err(|_| refuse())?,
            week.parse().map_err(|_| refuse())?,
        )
    }
}

impl TryFrom<String> for Train {
    type Error = TrainError;

    fn try_from(text: String) -> Result<Self, TrainError> {
        text.parse()
    }
}

impl From<Train> for String {
    fn from(train: Train) -> Self {
        train.to_string()
    }
}

impl fmt::Display for Train {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{:04}-W{:02}", self.year, self.week))
    }
}

/// A build's rank within its model, built as year, week, respin: 202647001.
///
/// A device takes only a higher one, so a hotfix of an older train stays below the newer train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence of a train's respin (1 to 999).
    pub fn new(train: Train, respin: u16) -> Option<Self> {
        (1..=999).contains(&respin).then(|| {
            Self(u64::from(train.year) * 100_000 + u64::from(train.week) * 1_000 + u64::from(respin))
        })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_design_example() {
        let train: Train = "2026-W47".parse().unwrap();
        assert_eq!(Sequence::new(train, 1), Some(Sequence(202_647_001)));
        let hotfix = Sequence::new("2026-W45".parse().unwrap(), 2).unwrap();
        assert_eq!(hotfix, Sequence(202_645_002));
        assert_eq!(Sequence::new(train, 0), None);
        assert_eq!(Sequence::new(train, 1_000), None);
    }

    #[test]
    fn week_53_only_where_the_year_has_one() {
        assert!("2026-W53".parse::<Train>().is_ok());
        assert_eq!(
            "2025-W53".parse::<Train>(),
            Err(TrainError::NoSuchWeek { year: 2025, week: 53 })
        );
        for refused in ["2026-47", "2026-W7", "26-W47", "2026-W00", "2026-W4x", ""] {
            assert!(refused.parse::<Train>().is_err(), "{refused}");
        }
    }

    #[test]
    fn the_year_is_the_week_numbering_year_in_the_zone() {
        // 2027-01-01 is a Friday of 2026-W53; two hours before midnight UTC on Sunday it is Monday in Shanghai.
        let utc = TimeZone::UTC;
        let friday: Timestamp = "2027-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(Train::at(friday, &utc).unwrap().to_string(), "2026-W53");
        let sunday: Timestamp = "2026-11-22T22:00:00Z".parse().unwrap();
        let shanghai = TimeZone::fixed(jiff::tz::offset(8));
        assert_eq!(Train::at(sunday, &utc).unwrap().to_string(), "2026-W47");
        assert_eq!(Train::at(sunday, &shanghai).unwrap().to_string(), "2026-W48");
    }
}
