//! An OTA package for a phone's own update_engine: a zip whose entries are stored, so that each can be fetched by
//! itself, around a payload that says what phones check and, if wanted, carries a signature.

mod dynamic;
mod error;
mod fields;
mod metadata;
mod signature;
mod signed;
mod stored;

use std::io::{Seek, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use millet_protocol::Sha256Digest;

use self::metadata::Place;
use self::signed::NewPayload;
use self::stored::Stored;
use crate::storage::ReadAt;

pub use dynamic::{DynamicError, DynamicPartitions};
pub use error::PackageError;
pub use fields::FieldError;
pub use signature::{PayloadKey, SignError};

/// What a phone is told before it takes a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `ro.product.device` of the phones that may take it; at least one.
    pub devices: Vec<String>,
    /// The build that a delta is applied to; a full payload fits every build.
    pub from: Option<PhoneBuild>,
    /// The build that the payload makes.
    pub to: PhoneBuild,
    /// `ro.build.date.utc` of that build, in seconds since 1970: update_engine refuses what is older than itself.
    pub timestamp: i64,
    /// `ro.build.version.sdk` of that build.
    pub sdk_level: Option<String>,
    /// `ro.build.version.security_patch` of that build, `2026-11-05`: update_engine refuses an older one.
    pub security_patch: Option<String>,
    /// How the build's partitions share `super`. Without it, what the payload says of that stays.
    pub dynamic: Option<DynamicPartitions>,
}

/// How Android names a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneBuild {
    /// `ro.build.fingerprint`.
    pub fingerprint: String,
    /// `ro.build.version.incremental`.
    pub incremental: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSummary {
    /// Bytes of the package.
    pub size: u64,
    /// Where in it the payload begins, as update_engine wants it beside a URL.
    pub payload_offset: u64,
    /// The payload in it, which is another one than that it was made of.
    pub payload: PayloadProperties,
    /// Who signed it.
    pub signature: SignatureKind,
    /// Whether the payload says which partitions lie in `super`; phones that have one refuse it otherwise.
    pub dynamic: bool,
}

/// Whether the payload in a package has a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// None.
    Unsigned,
    /// That which it came with: nothing in it had to be changed.
    Kept,
    /// That of the key that was handed over.
    New,
}

/// What update_engine is told beside a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadProperties {
    /// SHA-256 of the whole payload.
    pub file_sha256: Sha256Digest,
    /// Its bytes.
    pub file_size: u64,
    /// SHA-256 of header and manifest.
    pub metadata_sha256: Sha256Digest,
    /// Their bytes.
    pub metadata_size: u64,
}

impl PayloadProperties {
    /// The lines of `payload_properties.txt`, as AOSP's `brillo_update_payload properties` writes them and
    /// update_engine's `applyPayload` takes them.
    pub fn lines(&self) -> String {
        format!(
            "FILE_HASH={}\nFILE_SIZE={}\nMETADATA_HASH={}\nMETADATA_SIZE={}\n",
            STANDARD.encode(self.file_sha256.0),
            self.file_size,
            STANDARD.encode(self.metadata_sha256.0),
            self.metadata_size
        )
    }
}

const PAYLOAD: &str = "payload.bin";
const PROPERTIES: &str = "payload_properties.txt";

/// Makes an OTA package of a payload. The same payload, description and signature give the same bytes.
///
/// The payload's manifest is made to say the description's timestamp and security patch level; a signature that it
/// came with is left out if that changed it. Every blob is compared with its SHA-256 on the way. `progress` hears
/// bytes of blobs done and bytes in all.
pub fn write_package(
    payload: &dyn ReadAt,
    description: &Description,
    key: Option<&dyn PayloadKey>,
    out: &mut (impl Write + Seek),
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PackageSummary, PackageError> {
    check(description)?;
    let new = NewPayload::of(payload, description, key)?;
    if new.is_delta() && description.from.is_none() {
        return Err(PackageError::NoSourceBuild);
    }
    let mut zip = Stored::new(out);
    let offset = zip.content_of(PAYLOAD, new.size());
    let mut entry = zip.begin(PAYLOAD, new.size()).map_err(PackageError::Write)?;
    let properties = new.write(&mut |bytes| zip.write(&mut entry, bytes), progress)?;
    zip.end(entry).map_err(PackageError::Write)?;
    let lines = properties.lines();
    let head = Place {
        name: "payload_metadata.bin",
        offset,
        size: new.blobs_offset(),
    };
    let entries = [
        Place {
            name: PAYLOAD,
            offset,
            size: new.size(),
        },
        Place {
            name: PROPERTIES,
            offset: zip.content_of(PROPERTIES, lines.len() as u64),
            size: lines.len() as u64,
        },
    ];
    zip.whole(PROPERTIES, lines.as_bytes())
        .map_err(PackageError::Write)?;
    let place = |proto: u64, text: u64| {
        let at = zip.content_of(metadata::PROTO, proto);
        (
            at,
            zip.content_of(metadata::TEXT, text) + (at - zip.position()) + proto,
        )
    };
    let (proto, text) = metadata::encode(description, new.is_delta(), head, &entries, place);
    zip.whole(metadata::PROTO, &proto)
        .and_then(|()| zip.whole(metadata::TEXT, &text))
        .map_err(PackageError::Write)?;
    Ok(PackageSummary {
        size: zip.finish().map_err(PackageError::Write)?,
        payload_offset: offset,
        payload: properties,
        signature: new.signature(),
        dynamic: new.is_dynamic(),
    })
}

/// Values stand in lines of their own, several devices between bars.
fn check(description: &Description) -> Result<(), PackageError> {
    let writable = |what: &'static str, value: &str| {
        let safe = |byte: u8| byte.is_ascii_graphic() && byte != b'|';
        match !value.is_empty() && value.bytes().all(safe) {
            true => Ok(()),
            false => Err(PackageError::Text {
                what,
                value: value.to_owned(),
            }),
        }
    };
    if description.devices.is_empty() {
        writable("device", "")?;
    }
    for device in &description.devices {
        writable("device", device)?;
    }
    for build in description.from.iter().chain([&description.to]) {
        writable("fingerprint", &build.fingerprint)?;
        if let Some(incremental) = &build.incremental {
            writable("incremental version", incremental)?;
        }
    }
    if let Some(level) = &description.sdk_level {
        writable("SDK level", level)?;
    }
    if let Some(level) = &description.security_patch {
        writable("security patch level", level)?;
    }
    Ok(())
}
