//! What an OTA package says of itself: `META-INF/com/android/metadata`, as text and as `OtaMetadata`.
//!
//! AOSP's `build/make/tools/releasetools`: `ota_metadata.proto`, and `ota_utils.py` for the text and for the strings
//! that say where entries lie.

use std::collections::BTreeMap;

use prost::Message;

use super::Description;

/// The text; old updaters and recovery read it.
pub(super) const TEXT: &str = "META-INF/com/android/metadata";
/// The message.
pub(super) const PROTO: &str = "META-INF/com/android/metadata.pb";

/// An entry, or a part of one, as an updater may fetch it without the rest of the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Both forms, the message first; `at` says where content of so many bytes lies, that of the text behind the message.
///
/// `head` is the payload's head with its signature, a part of `entries[0]`. The strings say where the metadata itself
/// lies, whose size depends on them: they are padded with spaces to a length that fits.
pub(super) fn encode(
    description: &Description,
    delta: bool,
    head: Place,
    entries: &[Place],
    at: impl Fn(u64, u64) -> (u64, u64),
) -> (Vec<u8>, Vec<u8>) {
    let mut widths = [0; 2];
    loop {
        let padded = |tokens: [String; 2]| -> BTreeMap<String, String> {
            let [all, streaming] = widths;
            let [all_token, streaming_token] = tokens;
            [
                ("ota-property-files".to_owned(), format!("{all_token:all$}")),
                (
                    "ota-streaming-property-files".to_owned(),
                    format!("{streaming_token:streaming$}"),
                ),
            ]
            .into()
        };
        let mut metadata = message(description, delta);
        metadata.property_files = padded(Default::default());
        let (proto_size, text_size) = (metadata.encoded_len() as u64, text(&metadata).len() as u64);
        let (proto, text_at) = at(proto_size, text_size);
        let own = [
            Place {
                name: "metadata",
                offset: text_at,
                size: text_size,
            },
            Place {
                name: "metadata.pb",
                offset: proto,
                size: proto_size,
            },
        ];
        let streaming = [entries, &own].concat();
        let all = [&[head], streaming.as_slice()].concat();
        let tokens = [tokens(&all), tokens(&streaming)];
        let needed = [tokens[0].len(), tokens[1].len()];
        if needed.iter().zip(&widths).all(|(needed, width)| needed <= width) {
            metadata.property_files = padded(tokens);
            return (metadata.encode_to_vec(), text(&metadata).into_bytes());
        }
        // Never shorter, so that this ends: numbers have twenty digits at most.
        widths = [widths[0].max(needed[0]), widths[1].max(needed[1])];
    }
}

fn tokens(places: &[Place]) -> String {
    let token = |place: &Place| format!("{}:{}:{}", place.name, place.offset, place.size);
    places.iter().map(token).collect::<Vec<_>>().join(",")
}

/// `OtaMetadata`. Its `type` is AB, which is 0 and so not on the wire, like `required_cache`.
#[derive(Clone, PartialEq, Message)]
struct OtaMetadata {
    #[prost(btree_map = "string, string", tag = "4")]
    property_files: BTreeMap<String, String>,
    #[prost(message, optional, tag = "5")]
    precondition: Option<DeviceState>,
    #[prost(message, optional, tag = "6")]
    postcondition: Option<DeviceState>,
}

#[derive(Clone, PartialEq, Message)]
struct DeviceState {
    #[prost(string, repeated, tag = "1")]
    device: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    build: Vec<String>,
    #[prost(string, tag = "3")]
    build_incremental: String,
    #[prost(int64, tag = "4")]
    timestamp: i64,
    #[prost(string, tag = "5")]
    sdk_level: String,
    #[prost(string, tag = "6")]
    security_patch_level: String,
}

fn message(description: &Description, delta: bool) -> OtaMetadata {
    let from = description.from.as_ref().filter(|_| delta);
    OtaMetadata {
        property_files: BTreeMap::new(),
        precondition: Some(DeviceState {
            device: description.devices.clone(),
            build: from.map(|from| from.fingerprint.clone()).into_iter().collect(),
            build_incremental: from.and_then(|from| from.incremental.clone()).unwrap_or_default(),
            ..DeviceState::default()
        }),
        postcondition: Some(DeviceState {
            device: description.devices.clone(),
            build: vec![description.to.fingerprint.clone()],
            build_incremental: description.to.incremental.clone().unwrap_or_default(),
            timestamp: description.timestamp,
            sdk_level: description.sdk_level.clone().unwrap_or_default(),
            security_patch_level: description.security_patch.clone().unwrap_or_default(),
        }),
    }
}

/// Sorted lines of `key=value`. What is not known has no line.
fn text(metadata: &OtaMetadata) -> String {
    let mut lines = BTreeMap::from([
        ("ota-type", "AB".to_owned()),
        ("ota-required-cache", "0".to_owned()),
    ]);
    if let Some(pre) = &metadata.precondition {
        lines.insert("pre-device", pre.device.join("|"));
        lines.insert("pre-build", pre.build.join("|"));
        lines.insert("pre-build-incremental", pre.build_incremental.clone());
    }
    if let Some(post) = &metadata.postcondition {
        lines.insert("post-build", post.build.join("|"));
        lines.insert("post-build-incremental", post.build_incremental.clone());
        lines.insert("post-sdk-level", post.sdk_level.clone());
        lines.insert("post-security-patch-level", post.security_patch_level.clone());
        lines.insert("post-timestamp", post.timestamp.to_string());
    }
    for (key, value) in &metadata.property_files {
        lines.insert(key, value.clone());
    }
    let known = lines
        .into_iter()
        .filter(|(key, value)| !value.is_empty() || key.ends_with("property-files"));
    known.map(|(key, value)| format!("{key}={value}\n")).collect()
}
