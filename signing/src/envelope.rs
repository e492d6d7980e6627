//! The form that all metadata has (specification, section 4.2.1): `{"signed": ROLE, "signatures": [...]}`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::KeyId;
use crate::canonical;
use crate::error::FormError;
use crate::metadata::Role;

/// The specification that Millet writes.
const SPEC_VERSION: &str = "1.0.33";

/// Signatures in one file: far more than people hold keys for one role. Checking one costs a hash over the whole file, and
/// whoever bends a file can add as many as fit into it.
const MOST_SIGNATURES: usize = 128;

/// A parsed file whose signatures nobody has checked yet.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub signed: Value,
    /// The canonical form of exactly what stood under `signed`, unknown fields included.
    pub message: Vec<u8>,
    pub signatures: BTreeMap<KeyId, Vec<u8>>,
}

impl Envelope {
    /// Parses the outer form. A name twice in any object is refused: two readers could see two different files.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let Strict(value) = serde_json::from_slice(bytes)?;
        let Outer { signed, signatures } = serde_json::from_value(value)?;
        if signatures.len() > MOST_SIGNATURES {
            return Err(FormError::TooMany {
                what: "signatures".to_owned(),
                count: signatures.len(),
                limit: MOST_SIGNATURES,
            });
        }
        let mut decoded = BTreeMap::new();
        for Signature { keyid, sig } in signatures {
            if decoded.contains_key(&keyid) {
                return Err(FormError::Twice(format!("the signature of {}", keyid.short())));
            }
            // What is not hexadecimal is a signature that does not hold, and does not spoil the others.
            decoded.insert(keyid, hex::decode(sig).unwrap_or_default());
        }
        let message = canonical::to_vec(&signed)?;
        Ok(Self {
            signed,
            message,
            signatures: decoded,
        })
    }

    /// What is signed, as the role that it must be.
    pub fn role<R: Role>(&self) -> Result<R, FormError> {
        let mut signed = self.signed.clone();
        let mut take = |name: &str| {
            let taken = signed.as_object_mut().and_then(|fields| fields.remove(name));
            taken
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let (kind, specification) = (take("_type"), take("spec_version"));
        if kind != R::TYPE {
            return Err(FormError::Type {
                expected: R::TYPE,
                actual: kind.chars().take(40).collect(),
            });
        }
        if !is_read(&specification) {
            return Err(FormError::Specification(specification.chars().take(40).collect()));
        }
        let role: R = serde_json::from_value(signed)?;
        // 4.2.1 `VERSION`: an integer greater than 0.
        if role.version() == 0 {
            return Err(FormError::VersionZero);
        }
        role.check()?;
        Ok(role)
    }
}

/// 4.2.1 `SPEC_VERSION`: what has the major version 1 is read, whatever follows. `1.0` has two numbers and not the three of
/// semantic versioning, but the first repositories wrote it, and the reference implementation takes two or three.
fn is_read(specification: &str) -> bool {
    let numbers: Vec<&str> = specification.split('.').collect();
    let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(numbers.as_slice(), ["1", _] | ["1", _, _]) && numbers.iter().all(is_number)
}

/// What goes under the signature: the role's fields with its type and specification.
pub(crate) fn to_value<R: Role>(role: &R) -> Result<Value, serde_json::Error> {
    serde_json::to_value(Signed {
        kind: R::TYPE,
        spec_version: SPEC_VERSION,
        role,
    })
}

#[derive(serde::Serialize)]
struct Signed<'a, R> {
    #[serde(rename = "_type")]
    kind: &'static str,
    spec_version: &'static str,
    #[serde(flatten)]
    role: &'a R,
}

#[derive(serde::Deserialize)]
struct Outer {
    signed: Value,
    signatures: Vec<Signature>,
}

#[derive(serde::Deserialize)]
struct Signature {
    keyid: KeyId,
    sig: String,
}

/// A JSON value in which no object names a field twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON without repeated names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has no number that is not finite.
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.contains_key(&name) {
                let shown: String = name.chars().take(80).collect();
                return Err(de::Error::custom(format!(
                    "the name {shown:?} stands twice in one object"
                )));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Targets;

    fn refusal(text: &str) -> String {
        Envelope::parse(text.as_bytes()).err().unwrap().to_string()
    }

    #[test]
    fn repeated_names_are_refused_at_any_depth() {
        let shallow = refusal(r#"{"signed":{},"signatures":[],"signed":{"a":1}}"#);
        assert!(shallow.contains(r#""signed" stands twice"#), "{shallow}");
        let deep = refusal(r#"{"signed":{"x":[{"a":1,"\u0061":2}]},"signatures":[]}"#);
        assert!(deep.contains(r#""a" stands twice"#), "{deep}");
    }

    #[test]
    fn two_signatures_of_one_key_id_are_refused() {
        let text = r#"{"signed":{},"signatures":[{"keyid":"ab","sig":"00"},{"keyid":"ab","sig":"11"}]}"#;
        assert!(refusal(text).contains("twice"));
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let text = format!(
            "{{\"signed\":{}1{},\"signatures\":[]}}",
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(refusal(&text).contains("recursion limit"));
    }

    #[test]
    fn fractions_have_no_signature() {
        assert!(refusal(r#"{"signed":{"x":1.0},"signatures":[]}"#).contains("canonical"));
    }

    #[test]
    fn type_specification_and_version_are_checked() {
        let role = |head: &str| {
            let text = format!(
                r#"{{"signed":{{{head},"expires":"2026-11-20T12:00:00Z","targets":{{}}}},"signatures":[]}}"#
            );
            Envelope::parse(text.as_bytes()).unwrap().role::<Targets>()
        };
        assert!(role(r#""_type":"targets","spec_version":"1.0.31","version":1"#).is_ok());
        let kind = role(r#""_type":"snapshot","spec_version":"1.0.31","version":1"#);
        assert!(matches!(kind, Err(FormError::Type { .. })));
        for specification in ["1.0", "1.0.0", "1.1.7"] {
            let head = format!(r#""_type":"targets","spec_version":"{specification}","version":1"#);
            assert!(role(&head).is_ok(), "{specification}");
        }
        for specification in [
            "2.0", "1", "1.", "1.0.", "1.x", "1.0.31.1", "01.0", "-1.0", "", "10.0",
        ] {
            let head = format!(r#""_type":"targets","spec_version":"{specification}","version":1"#);
            let refused = role(&head);
            assert!(
                matches!(refused, Err(FormError::Specification(_))),
                "{specification}"
            );
        }
        let version = role(r#""_type":"targets","spec_version":"1.0.31","version":0"#);
        assert!(matches!(version, Err(FormError::VersionZero)));
    }
}
