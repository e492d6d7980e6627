//! Conditional and range requests (RFC 9110, sections 13 and 14), without I/O.

use std::ops::Range;

use axum::http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderName, Method};

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
}

/// Evaluates the headers in the order of section 13.2.2. There are no dates here: the entity tag says everything.
pub fn reply(method: &Method, request: &HeaderMap, etag: &str, length: u64) -> Reply {
    if let Some(wanted) = text(request, IF_MATCH)
        && !lists(wanted, etag, Comparison::Strong)
    {
        return Reply::PreconditionFailed;
    }
    if let Some(held) = text(request, IF_NONE_MATCH)
        && lists(held, etag, Comparison::Weak)
    {
        return Reply::NotModified;
    }
    // 14.2: Range is defined for GET alone.
    let wanted = text(request, RANGE).filter(|_| method == Method::GET);
    // 13.1.5: a part of something else would be of no use; a date never matches, since we send none.
    let unchanged = text(request, IF_RANGE).is_none_or(|held| held == etag);
    match wanted.filter(|_| unchanged) {
        Some(range) => part(range, length),
        None => Reply::Whole,
    }
}

/// 14.1.2. What is not one well-formed byte range is ignored, which the section allows: several ranges at once would
/// let a few bytes of request ask for much work.
fn part(range: &str, length: u64) -> Reply {
    let spec = range
        .split_once('=')
        .filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"));
    let Some((first, last)) = spec.and_then(|(_, spec)| spec.trim().split_once('-')) else {
        return Reply::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Reply::Whole,
        (Some(first), _) if first >= length && (last.is_empty() || number(last).is_some()) => {
            Reply::Unsatisfiable
        }
        (Some(first), Some(last)) => Reply::Part(first..last.saturating_add(1).min(length)),
        (Some(first), None) if last.is_empty() => Reply::Part(first..length),
        (None, Some(0)) if first.is_empty() => Reply::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && length == 0 => Reply::Unsatisfiable,
        (None, Some(suffix)) if first.is_empty() => Reply::Part(length.saturating_sub(suffix)..length),
        _ => Reply::Whole,
    }
}

fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for us lies behind every end.
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names ours (8.8.3.2). Ours is strong and holds no comma.
fn lists(list: &str, etag: &str, comparison: Comparison) -> bool {
    list.split(',').map(str::trim).any(|tag| {
        let tag = match comparison {
            Comparison::Strong => tag,
            Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag),
        };
        tag == "*" || tag == etag
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn get(headers: &[(HeaderName, &str)], length: u64) -> Reply {
        let map = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        reply(&Method::GET, &map, ETAG, length)
    }

    #[test]
    fn ranges() {
        let part = |text: &str| get(&[(RANGE, text)], 100);
        assert_eq!(part("bytes=0-0"), Reply::Part(0..1));
        assert_eq!(part("bytes=10-"), Reply::Part(10..100));
        assert_eq!(part("bytes=90-500"), Reply::Part(90..100));
        assert_eq!(part("bytes=-10"), Reply::Part(90..100));
        assert_eq!(part("bytes=-500"), Reply::Part(0..100));
        assert_eq!(part("Bytes = 5-9"), Reply::Part(5..10));
        assert_eq!(part("bytes=99-99999999999999999999999"), Reply::Part(99..100));
        for unsatisfiable in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(part(unsatisfiable), Reply::Unsatisfiable, "{unsatisfiable}");
        }
        for ignored in [
            "bytes=0-1,5-6",
            "bytes=5-1",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-x",
            "lines=1-2",
            "bytes",
            "bytes=+1-2",
        ] {
            assert_eq!(part(ignored), Reply::Whole, "{ignored}");
        }
        assert_eq!(get(&[(RANGE, "bytes=-5")], 0), Reply::Unsatisfiable);
    }

    #[test]
    fn conditions_come_first_and_in_order() {
        assert_eq!(get(&[(IF_NONE_MATCH, "\"x\", W/\"abc\"")], 9), Reply::NotModified);
        assert_eq!(
            get(&[(IF_NONE_MATCH, "*"), (RANGE, "bytes=0-1")], 9),
            Reply::NotModified
        );
        assert_eq!(
            get(&[(IF_NONE_MATCH, "\"x\""), (RANGE, "bytes=0-1")], 9),
            Reply::Part(0..2)
        );
        assert_eq!(get(&[(IF_MATCH, "W/\"abc\"")], 9), Reply::PreconditionFailed);
        assert_eq!(get(&[(IF_MATCH, "\"abc\"")], 9), Reply::Whole);
    }

    #[test]
    fn a_part_of_something_else_is_not_sent() {
        assert_eq!(
            get(&[(IF_RANGE, ETAG), (RANGE, "bytes=0-1")], 9),
            Reply::Part(0..2)
        );
        assert_eq!(
            get(&[(IF_RANGE, "\"old\""), (RANGE, "bytes=0-1")], 9),
            Reply::Whole
        );
        let head = HeaderMap::from_iter([(RANGE, "bytes=0-1".parse().unwrap())]);
        assert_eq!(reply(&Method::HEAD, &head, ETAG, 9), Reply::Whole);
    }
}
