//! OLPC canonical JSON, the form that TUF signatures are made over (specification, section 4.2.1).

use serde_json::{Map, Value};

/// A value that has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// Canonical JSON has integers only. A whole number beyond 64 bits counts as a fraction too.
    #[error("canonical JSON has no number {0}: only whole ones of at most 64 bits")]
    Number(String),
}

/// The canonical bytes of a value: keys in the order of their bytes, no space, integers only, and in strings nothing
/// escaped but `"` and `\`.
///
/// Strings are not brought into a Unicode normal form: what was signed is what was written, as in the reference
/// implementation (securesystemslib, `encode_canonical`). The result need not be JSON, since control characters
/// stand in it unescaped; it is only ever hashed or signed.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Ok(out)
}

// The recursion is bounded: serde_json refuses to parse deeper than 128.
fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            if !number.is_u64() && !number.is_i64() {
                return Err(CanonicalError::Number(number.to_string()));
            }
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => write_object(fields, out)?,
    }
    Ok(())
}

fn write_object(fields: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    // Sorted here and not left to the map: another crate can turn on serde_json's `preserve_order`.
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by(|one, other| one.0.as_bytes().cmp(other.0.as_bytes()));
    out.push(b'{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> String {
        String::from_utf8(to_vec(value).unwrap()).unwrap()
    }

    #[test]
    fn forms() {
        assert_eq!(
            text(&json!({"b": [1, -2, true, null], "a": {"z": "", "B": 18446744073709551615_u64}})),
            r#"{"a":{"B":18446744073709551615,"z":""},"b":[1,-2,true,null]}"#
        );
        assert_eq!(text(&json!("a\"b\\c\n\u{7f}é")), "\"a\\\"b\\\\c\n\u{7f}é\"");
        assert_eq!(text(&json!({})), "{}");
    }

    #[test]
    fn keys_sort_by_bytes_not_by_utf16() {
        // U+FF5E sorts after U+1F600 in UTF-16 and before it in UTF-8.
        assert_eq!(
            text(&json!({"\u{1f600}": 1, "\u{ff5e}": 2})),
            "{\"\u{ff5e}\":2,\"\u{1f600}\":1}"
        );
    }

    #[test]
    fn fractions_are_refused_wherever_they_stand() {
        for value in [json!(1.5), json!([{"a": 1.0}]), json!({"x": -0.0})] {
            assert!(to_vec(&value).is_err(), "{value}");
        }
        let huge: Value = serde_json::from_str("18446744073709551616").unwrap();
        assert!(to_vec(&huge).is_err());
    }
}
