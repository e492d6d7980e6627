use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::keys::percent;

/// A private key on a token, as a PKCS #11 URI names it (RFC 7512).
///
/// It is narrower than the RFC: what Millet does not compare is refused, since a part that is passed over could name
/// another key. In the query, `module-path` is required, and `public` is Millet's own (section 2.3 allows others'
/// attributes): the public half in a file, for machines without the token.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pkcs11Uri {
    text: String,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// Who made the token.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The key's label, `CKA_LABEL`.
    pub object: Option<String>,
    /// The key's identifier, `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// The library that speaks to the token.
    pub module: PathBuf,
    /// The file that holds the PIN.
    pub pin_source: Option<PathBuf>,
    /// The file that holds the public half.
    pub public: Option<PathBuf>,
}

/// Why a text names no key on a token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Pkcs11UriError {
    /// An attribute that is not understood.
    #[error(
        "{0:?} is not understood in a pkcs11 URI: write token, serial, manufacturer, model, object and id, then ? \
         and module-path, pin-source and public"
    )]
    Unknown(String),
    /// An attribute twice (RFC 7512, section 2.3).
    #[error("{0:?} stands twice in a pkcs11 URI")]
    Twice(String),
    /// Something that is not percent-encoded text.
    #[error("{0:?} is not a value of a pkcs11 URI")]
    Value(String),
    /// A PIN in the URI, where everyone reads it.
    #[error("a PIN has no place in a URI: leave pin-value out and be asked, or name a file by pin-source")]
    PinValue,
    /// A PIN from a program (RFC 7512, section 2.4).
    #[error("pin-source is the path of a file, and not a program")]
    PinProgram,
    /// Nothing that says which library speaks to the token.
    #[error(
        "a pkcs11 URI needs module-path: pkcs11:token=…;object=…?module-path=/usr/lib/softhsm/libsofthsm2.so"
    )]
    NoModule,
    /// Nothing that says which key.
    #[error("a pkcs11 URI names its key by object or id")]
    NoKey,
}

/// One value of an attribute, which may stand once.
type Value = Option<Vec<u8>>;

impl Pkcs11Uri {
    /// The same with paths that no longer count from `folder`.
    pub fn resolved(&self, folder: &Path) -> Self {
        let whole = |path: &PathBuf| folder.join(path);
        Self {
            module: whole(&self.module),
            pin_source: self.pin_source.as_ref().map(whole),
            public: self.public.as_ref().map(whole),
            ..self.clone()
        }
    }
}

impl FromStr for Pkcs11Uri {
    type Err = Pkcs11UriError;

    /// Parses what stands behind `pkcs11:`.
    fn from_str(text: &str) -> Result<Self, Pkcs11UriError> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let [
            mut token,
            mut serial,
            mut manufacturer,
            mut model,
            mut object,
            mut id,
            mut kind,
        ] = [const { Value::None }; 7];
        for attribute in path.split(';') {
            let (name, value) = pair(attribute)?;
            let place = match name {
                "token" => &mut token,
                "serial" => &mut serial,
                "manufacturer" => &mut manufacturer,
                "model" => &mut model,
                "object" => &mut object,
                "id" => &mut id,
                "type" if value == b"private" => &mut kind,
                _ => return Err(Pkcs11UriError::Unknown(name.to_owned())),
            };
            set(place, name, value)?;
        }
        let [mut module, mut pin_source, mut public] = [const { Value::None }; 3];
        for attribute in query.split('&').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = pair(attribute)?;
            let place = match name {
                "module-path" => &mut module,
                "pin-source" if value.starts_with(b"|") => return Err(Pkcs11UriError::PinProgram),
                "pin-source" => &mut pin_source,
                "pin-value" => return Err(Pkcs11UriError::PinValue),
                "public" => &mut public,
                _ => return Err(Pkcs11UriError::Unknown(name.to_owned())),
            };
            set(place, name, value)?;
        }
        if object.is_none() && id.is_none() {
            return Err(Pkcs11UriError::NoKey);
        }
        Ok(Self {
            text: text.to_owned(),
            token: string(token)?,
            serial: string(serial)?,
            manufacturer: string(manufacturer)?,
            model: string(model)?,
            object: string(object)?,
            id,
            module: string(module)?.ok_or(Pkcs11UriError::NoModule)?.into(),
            pin_source: string(pin_source)?
                .map(|source| source.strip_prefix("file:").unwrap_or(&source).into()),
            public: string(public)?.map(PathBuf::from),
        })
    }
}

impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pkcs11:{}", self.text)
    }
}

fn pair(attribute: &str) -> Result<(&str, Vec<u8>), Pkcs11UriError> {
    let (name, value) = attribute
        .split_once('=')
        .ok_or_else(|| Pkcs11UriError::Unknown(attribute.to_owned()))?;
    match percent::decoded(value.as_bytes()) {
        Some(mut bytes) if !bytes.is_empty() => Ok((name, std::mem::take(&mut *bytes))),
        // What stands behind pin-value is never repeated.
        _ if name == "pin-value" => Err(Pkcs11UriError::PinValue),
        _ => Err(Pkcs11UriError::Value(value.to_owned())),
    }
}

fn set(place: &mut Value, name: &str, value: Vec<u8>) -> Result<(), Pkcs11UriError> {
    match place.replace(value) {
        Some(_) => Err(Pkcs11UriError::Twice(name.to_owned())),
        None => Ok(()),
    }
}

fn string(value: Value) -> Result<Option<String>, Pkcs11UriError> {
    value
        .map(|bytes| {
            String::from_utf8(bytes).map_err(|error| {
                Pkcs11UriError::Value(String::from_utf8_lossy(error.as_bytes()).into_owned())
            })
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_by_label_and_by_id() {
        let uri: Pkcs11Uri =
            "token=Release%20keys;object=root1?module-path=/usr/lib/m.so&pin-source=file:pin"
                .parse()
                .unwrap();
        assert_eq!(uri.token.as_deref(), Some("Release keys"));
        assert_eq!(uri.object.as_deref(), Some("root1"));
        assert_eq!(uri.module, Path::new("/usr/lib/m.so"));
        assert_eq!(uri.pin_source.as_deref(), Some(Path::new("pin")));
        let whole = uri.resolved(Path::new("/keys"));
        assert_eq!(whole.pin_source.as_deref(), Some(Path::new("/keys/pin")));
        assert_eq!(whole.module, uri.module);
        let uri: Pkcs11Uri = "serial=1a2b;id=%01%ff;type=private?module-path=m&public=a.pub"
            .parse()
            .unwrap();
        assert_eq!((uri.id, uri.object), (Some(vec![1, 0xff]), None));
        assert_eq!(uri.public.as_deref(), Some(Path::new("a.pub")));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        use Pkcs11UriError as E;
        let unknown = |name: &str| E::Unknown(name.to_owned());
        for (text, error) in [
            ("object=a", E::NoModule),
            ("token=a?module-path=m", E::NoKey),
            ("object=a;slot-id=1?module-path=m", unknown("slot-id")),
            ("object=a;type=cert?module-path=m", unknown("type")),
            ("object=a;?module-path=m", unknown("")),
            ("object=a?module-name=m", unknown("module-name")),
            ("object=a;object=b?module-path=m", E::Twice("object".to_owned())),
            ("object=a?module-path=m&pin-value=1234", E::PinValue),
            ("object=a?module-path=m&pin-source=|cat", E::PinProgram),
            ("object=a?module-path=m&pin-source=%7Ccat", E::PinProgram),
            ("object=%4?module-path=m", E::Value("%4".to_owned())),
            ("object=%zz?module-path=m", E::Value("%zz".to_owned())),
            ("object=?module-path=m", E::Value(String::new())),
        ] {
            assert_eq!(text.parse::<Pkcs11Uri>().unwrap_err(), error, "{text}");
        }
        // An error never repeats a PIN.
        for value in ["1234", "1234%"] {
            let error = format!("object=a?module-path=m&pin-value={value}").parse::<Pkcs11Uri>();
            assert_eq!(error.unwrap_err(), E::PinValue);
        }
    }
}
