//! OTA packages: where things lie, what phones are told, and what is signed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Cursor;

use millet_payload::input::{Input, InputKind, open_payload};
use millet_payload::{
    Checkpoint, Description, DynamicError, DynamicPartitions, HeadError, PREFIX, PackageError,
    PackageSummary, PayloadKey, PhoneBuild, ReadHeadError, SignError, SignatureKind, apply, write_package,
};
use millet_protocol::Sha256Digest;
use prost::Message;
use sha2::{Digest, Sha256};
use support::*;

fn description() -> Description {
    Description {
        devices: vec!["rubik".into(), "rubik_eea".into()],
        from: Some(PhoneBuild {
            fingerprint: "acme/rubik/rubik:16/V6.11.13/7:user/release-keys".into(),
            incremental: Some("7".into()),
        }),
        to: PhoneBuild {
            fingerprint: "acme/rubik/rubik:16/V6.11.20/8:user/release-keys".into(),
            incremental: Some("8".into()),
        },
        timestamp: 1_795_000_000,
        sdk_level: Some("36".into()),
        security_patch: Some("2026-11-05".into()),
        dynamic: None,
    }
}

fn pair() -> (Images, Images) {
    let system = image(41, 200);
    let new = week(&system, 42, 200);
    (
        images([("system", system), ("boot", image(43, 20))]),
        images([("system", new), ("boot", image(44, 20))]),
    )
}

/// A key whose signatures are of another length each time, and which remembers what it signed.
#[derive(Default)]
struct Pen(RefCell<Vec<Sha256Digest>>);

impl PayloadKey for Pen {
    fn longest_signature(&self) -> usize {
        72
    }

    fn sign(&self, sha256: &Sha256Digest) -> Result<Vec<u8>, SignError> {
        let mut signed = self.0.borrow_mut();
        signed.push(*sha256);
        Ok(vec![0x5e; 71 - signed.len() % 2])
    }
}

fn package(
    payload: &[u8],
    description: &Description,
    key: Option<&dyn PayloadKey>,
) -> (Vec<u8>, PackageSummary) {
    let mut zip = Cursor::new(Vec::new());
    let summary = write_package(&payload.to_vec(), description, key, &mut zip, &mut |_, _| ()).unwrap();
    assert_eq!(summary.size, zip.get_ref().len() as u64);
    (zip.into_inner(), summary)
}

fn refused(payload: &[u8], description: &Description, key: Option<&dyn PayloadKey>) -> PackageError {
    let out = &mut Cursor::new(Vec::new());
    write_package(&payload.to_vec(), description, key, out, &mut |_, _| ()).unwrap_err()
}

/// The content of the entries, read by someone else's reader.
fn entries(zip: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let archive = rawzip::ZipArchive::from_slice(zip).unwrap();
    let entry = |record: rawzip::ZipFileHeaderRecord<'_>| {
        assert_eq!(record.compression_method(), rawzip::CompressionMethod::STORE);
        assert!(!record.flags().has_data_descriptor());
        let content = archive.get_entry(record.wayfinder()).unwrap().data();
        assert_eq!(rawzip::crc32(content), record.crc32());
        let name = String::from_utf8(record.file_path().as_ref().to_vec()).unwrap();
        (name, content.to_vec())
    };
    archive.entries().map(|record| entry(record.unwrap())).collect()
}

fn payload_of(zip: &[u8]) -> Vec<u8> {
    entries(zip).remove("payload.bin").unwrap()
}

/// The lines of the metadata's text.
fn text(zip: &[u8]) -> BTreeMap<String, String> {
    let text = entries(zip).remove("META-INF/com/android/metadata").unwrap();
    let text = String::from_utf8(text).unwrap();
    let line = |line: &str| {
        let (key, value) = line.split_once('=').unwrap();
        (key.to_owned(), value.to_owned())
    };
    let lines: Vec<_> = text.lines().map(line).collect();
    assert!(lines.is_sorted() && text.ends_with('\n'), "{text}");
    lines.into_iter().collect()
}

/// Fields of update_metadata.proto that a package sets.
#[derive(Clone, PartialEq, Message)]
struct Manifest {
    #[prost(uint64, optional, tag = "4")]
    signatures_offset: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    signatures_size: Option<u64>,
    #[prost(int64, optional, tag = "14")]
    max_timestamp: Option<i64>,
    #[prost(string, optional, tag = "18")]
    security_patch_level: Option<String>,
    #[prost(string, optional, tag = "1000")]
    unknown: Option<String>,
}

fn manifest(payload: &[u8]) -> Manifest {
    Manifest::decode(&payload[PREFIX..head(payload).metadata_size() as usize]).unwrap()
}

#[test]
fn offsets_cut_out_what_they_name() {
    let (old, new) = pair();
    let pen = Pen::default();
    let cases: [(_, Option<&dyn PayloadKey>); 3] = [
        (full(&new), None),
        (delta(&old, &new), None),
        (full(&new), Some(&pen)),
    ];
    for (payload, key) in cases {
        let (zip, summary) = package(&payload, &description(), key);
        let files = entries(&zip);
        let payload = &files["payload.bin"];
        let mut expected: BTreeMap<&str, &[u8]> = BTreeMap::new();
        expected.insert("payload.bin", payload);
        expected.insert("payload_properties.txt", &files["payload_properties.txt"]);
        expected.insert("metadata", &files["META-INF/com/android/metadata"]);
        expected.insert("metadata.pb", &files["META-INF/com/android/metadata.pb"]);
        let text = text(&zip);
        let named = |key: &str| {
            let mut named = BTreeMap::new();
            for token in text[key].trim_end().split(',') {
                let [name, offset, size] = token.split(':').collect::<Vec<_>>().try_into().unwrap();
                let (offset, size): (usize, usize) = (offset.parse().unwrap(), size.parse().unwrap());
                named.insert(name.to_owned(), &zip[offset..offset + size]);
            }
            named
        };
        let streaming = named("ota-streaming-property-files");
        assert!(
            streaming
                .iter()
                .map(|(name, bytes)| (name.as_str(), *bytes))
                .eq(expected.clone())
        );
        expected.insert(
            "payload_metadata.bin",
            &payload[..head(payload).blobs_offset() as usize],
        );
        let all = named("ota-property-files");
        assert!(
            all.iter()
                .map(|(name, bytes)| (name.as_str(), *bytes))
                .eq(expected)
        );
        let start = summary.payload_offset as usize;
        assert!(zip[start..].starts_with(payload));
    }
}

/// ota_metadata.proto.
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(int32, tag = "1")]
    r#type: i32,
    #[prost(btree_map = "string, string", tag = "4")]
    property_files: BTreeMap<String, String>,
    #[prost(message, required, tag = "5")]
    precondition: State,
    #[prost(message, required, tag = "6")]
    postcondition: State,
}

#[derive(Clone, PartialEq, Message)]
struct State {
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

#[test]
fn phones_are_told_the_same_in_both_forms() {
    let (old, new) = pair();
    for (payload, is_delta) in [(full(&new), false), (delta(&old, &new), true)] {
        let (zip, _) = package(&payload, &description(), None);
        let mut lines = text(&zip);
        let metadata = Metadata::decode(&*entries(&zip)["META-INF/com/android/metadata.pb"]).unwrap();
        assert_eq!(metadata.r#type, 0);
        for (key, value) in &metadata.property_files {
            assert_eq!(lines.remove(key).as_ref(), Some(value));
        }
        let (pre, post) = (&metadata.precondition, &metadata.postcondition);
        let mut expected = vec![
            ("ota-required-cache", "0".to_owned()),
            ("ota-type", "AB".to_owned()),
            ("post-build", post.build.join("|")),
            ("post-build-incremental", post.build_incremental.clone()),
            ("post-sdk-level", post.sdk_level.clone()),
            ("post-security-patch-level", post.security_patch_level.clone()),
            ("post-timestamp", post.timestamp.to_string()),
        ];
        if is_delta {
            expected.push(("pre-build", pre.build.join("|")));
            expected.push(("pre-build-incremental", pre.build_incremental.clone()));
        }
        expected.push(("pre-device", pre.device.join("|")));
        let lines: Vec<_> = lines
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        assert_eq!(lines, expected);
        let told = description();
        assert_eq!((&pre.device, &post.device), (&told.devices, &told.devices));
        assert_eq!(post.build, [told.to.fingerprint]);
        assert_eq!(post.timestamp, told.timestamp);
        assert_eq!(pre.build.len(), usize::from(is_delta));
        let changed = manifest(&payload_of(&zip));
        assert_eq!(changed.max_timestamp, Some(told.timestamp));
        assert_eq!(changed.security_patch_level, told.security_patch);
        assert_eq!((changed.signatures_offset, changed.signatures_size), (None, None));
    }
    let (mut few, payload) = (description(), full(&new));
    (few.from, few.sdk_level, few.security_patch, few.to.incremental) = (None, None, None, None);
    let lines = text(&package(&payload, &few, None).0);
    assert!(lines.values().all(|value| !value.is_empty()));
    assert_eq!(lines["pre-device"], "rubik|rubik_eea");
}

#[test]
fn the_payload_inside_makes_the_images() {
    let (old, new) = pair();
    let folder = tempfile::tempdir().unwrap();
    let pen = Pen::default();
    let keys: [Option<&dyn PayloadKey>; 2] = [None, Some(&pen)];
    for key in keys {
        for payload in [full(&new), delta(&old, &new)] {
            let (zip, _) = package(&payload, &description(), key);
            let path = folder.path().join("OTA.zip");
            std::fs::write(&path, &zip).unwrap();
            let opened = open_payload(&path, folder.path()).unwrap();
            let mut inside = vec![0; opened.size().unwrap() as usize];
            opened.read_exact_at(&mut inside, 0).unwrap();
            assert!(inside == payload_of(&zip));
            let slots = MemorySlots::new(&old);
            let (head, mut blobs) = (head(&inside), blobs(&inside));
            apply(
                &head,
                Checkpoint::default(),
                &mut blobs,
                &slots,
                &mut Journal::default(),
            )
            .unwrap();
            for (name, bytes) in &new {
                assert!(slots.made(name.as_str(), bytes.len()) == *bytes, "{name}");
            }
            if !head.is_delta() {
                let input = Input::open(&path, folder.path(), &mut |_, _| ()).unwrap();
                assert_eq!(input.kind(), InputKind::Package);
                assert_eq!(input.members().len(), 2);
            }
        }
    }
}

/// The signature in a message, and how much of it is padding.
fn signature(message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    #[derive(Clone, PartialEq, Message)]
    struct Signatures {
        #[prost(message, repeated, tag = "1")]
        signatures: Vec<Signature>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Signature {
        #[prost(bytes = "vec", tag = "2")]
        data: Vec<u8>,
        #[prost(fixed32, tag = "3")]
        unpadded_signature_size: u32,
    }
    let signatures = Signatures::decode(message).unwrap().signatures;
    let [signature] = signatures.try_into().unwrap();
    let (data, padding) = signature
        .data
        .split_at(signature.unpadded_signature_size as usize);
    (data.to_vec(), padding.to_vec())
}

#[test]
fn what_is_signed_is_the_head_and_the_head_with_the_blobs() {
    let (old, new) = pair();
    let payload = delta(&old, &new);
    let pen = Pen::default();
    let (zip, summary) = package(&payload, &description(), Some(&pen));
    assert_eq!(summary.signature, SignatureKind::New);
    let signed = payload_of(&zip);
    let head = head(&signed);
    let (head_end, blobs_start) = (head.metadata_size() as usize, head.blobs_offset() as usize);
    let blobs_end = blobs_start + head.blobs_length() as usize;
    let written = manifest(&signed);
    assert_eq!(written.signatures_offset, Some(head.blobs_length()));
    assert_eq!(written.signatures_size, Some((signed.len() - blobs_end) as u64));
    assert_eq!(blobs_start - head_end, signed.len() - blobs_end);
    assert!(signed[blobs_start..blobs_end] == *blobs(&payload));

    let of = |parts: &[&[u8]]| Sha256Digest(Sha256::digest(parts.concat()).into());
    assert_eq!(
        *pen.0.borrow(),
        [
            of(&[&signed[..head_end]]),
            of(&[&signed[..head_end], &signed[blobs_start..blobs_end]])
        ]
    );
    let expected = |length: usize| (vec![0x5e; length], vec![0; 72 - length]);
    assert_eq!(signature(&signed[head_end..blobs_start]), expected(70));
    assert_eq!(signature(&signed[blobs_end..]), expected(71));
    assert_eq!(summary.payload.metadata_sha256, of(&[&signed[..head_end]]));
    assert_eq!(summary.payload.file_sha256, of(&[&signed]));
    assert_eq!(summary.payload.file_size, signed.len() as u64);
    assert_eq!(
        summary.payload.lines().as_bytes(),
        entries(&zip)["payload_properties.txt"]
    );

    struct Boaster;
    impl PayloadKey for Boaster {
        fn longest_signature(&self) -> usize {
            10
        }
        fn sign(&self, _: &Sha256Digest) -> Result<Vec<u8>, SignError> {
            Ok(vec![0; 11])
        }
    }
    assert!(matches!(
        refused(&payload, &description(), Some(&Boaster)),
        PackageError::LongSignature { has: 11, longest: 10 }
    ));
}

#[test]
fn a_signature_stays_while_it_fits() {
    let (_, new) = pair();
    let (zip, _) = package(&full(&new), &description(), Some(&Pen::default()));
    let signed = payload_of(&zip);
    let (again, summary) = package(&signed, &description(), None);
    assert_eq!(summary.signature, SignatureKind::Kept);
    assert!(again == zip);
    let later = Description {
        timestamp: 1_795_000_001,
        ..description()
    };
    let (unsigned, summary) = package(&signed, &later, None);
    assert_eq!(summary.signature, SignatureKind::Unsigned);
    assert!(payload_of(&unsigned) == payload_of(&package(&full(&new), &later, None).0));
    // Behind the signature may lie anything; it is not copied.
    let (cut, _) = package(&[&signed, &b"rest"[..]].concat(), &description(), None);
    assert!(cut == zip);
    let short = &signed[..signed.len() - 1];
    assert!(matches!(
        refused(short, &description(), None),
        PackageError::Read(_)
    ));
}

#[test]
fn the_same_gives_the_same_and_fields_of_others_stay() {
    let (old, new) = pair();
    let payload = delta(&old, &new);
    assert!(package(&payload, &description(), None).0 == package(&payload, &description(), None).0);

    let size = head(&payload).metadata_size() as usize;
    let field = Manifest {
        unknown: Some("of someone else".into()),
        ..Manifest::default()
    }
    .encode_to_vec();
    let mut other = [&payload[..size], &field, &payload[size..]].concat();
    other[12..20].copy_from_slice(&((size - PREFIX + field.len()) as u64).to_be_bytes());
    let kept = manifest(&payload_of(&package(&other, &description(), None).0));
    assert_eq!(kept.unknown.as_deref(), Some("of someone else"));
}

#[test]
fn what_is_broken_is_not_signed() {
    let (old, new) = pair();
    let payload = full(&new);
    let mut flipped = payload.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let pen = Pen::default();
    let error = refused(&flipped, &description(), Some(&pen));
    assert!(matches!(&error, PackageError::OtherBlob { partition, .. } if partition.as_str() == "system"));
    // Only the head was: its signature alone is worth nothing.
    assert_eq!(pen.0.borrow().len(), 1);
    let error = refused(&payload[..payload.len() - 1], &description(), None);
    assert!(
        matches!(error, PackageError::Head(ReadHeadError::CutOff { .. })),
        "{error}"
    );
    let error = refused(&[0; 64], &description(), None);
    assert!(
        matches!(error, PackageError::Head(ReadHeadError::Head(HeadError::Magic))),
        "{error}"
    );

    let homeless = Description {
        from: None,
        ..description()
    };
    package(&payload, &homeless, None);
    let error = refused(&delta(&old, &new), &homeless, None);
    assert!(matches!(error, PackageError::NoSourceBuild), "{error}");
    for bad in ["", "two words", "a|b", "a\nb", "é"] {
        let mut description = description();
        description.devices[1] = bad.into();
        let error = refused(&payload, &description, None);
        assert!(
            matches!(error, PackageError::Text { what: "device", .. }),
            "{error}"
        );
    }
    let nobody = Description {
        devices: Vec::new(),
        ..description()
    };
    assert!(matches!(
        refused(&payload, &nobody, None),
        PackageError::Text { .. }
    ));
}

/// What phones with Virtual A/B are told, by update_metadata.proto.
#[derive(Clone, PartialEq, Message)]
struct Dynamic {
    #[prost(message, repeated, tag = "13")]
    partitions: Vec<Update>,
    #[prost(message, optional, tag = "15")]
    metadata: Option<Super>,
}

#[derive(Clone, PartialEq, Message)]
struct Update {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(uint64, optional, tag = "19")]
    estimate_cow_size: Option<u64>,
    #[prost(uint64, optional, tag = "20")]
    estimate_op_count_max: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct Super {
    #[prost(message, repeated, tag = "1")]
    groups: Vec<Group>,
    #[prost(bool, tag = "2")]
    snapshot_enabled: bool,
    #[prost(bool, tag = "3")]
    vabc_enabled: bool,
    #[prost(string, tag = "4")]
    vabc_compression_param: String,
    #[prost(uint32, tag = "5")]
    cow_version: u32,
    #[prost(uint64, tag = "7")]
    compression_factor: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Group {
    #[prost(string, required, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    size: u64,
    #[prost(string, repeated, tag = "3")]
    partition_names: Vec<String>,
}

#[test]
fn phones_with_super_are_told_what_lies_in_it() {
    let (old, new) = pair();
    let payload = delta(&old, &new);
    let told = |text: &str| Description {
        dynamic: Some(DynamicPartitions::parse(text).unwrap()),
        ..description()
    };
    let groups =
        "super_partition_groups=main\nsuper_main_group_size=1000000\nsuper_main_partition_list=system\n";
    let compressed = "virtual_ab=true\nvirtual_ab_compression=true\nvirtual_ab_compression_method=lz4\n\
                      virtual_ab_cow_version=3\nvirtual_ab_compression_factor=65536\n";
    let (zip, summary) = package(
        &payload,
        &told(&format!("{groups}{compressed}")),
        Some(&Pen::default()),
    );
    assert!(summary.dynamic);
    let inside = payload_of(&zip);
    let read =
        |payload: &[u8]| Dynamic::decode(&payload[PREFIX..head(payload).metadata_size() as usize]).unwrap();
    let dynamic = read(&inside);
    let expected = Super {
        groups: vec![Group {
            name: "main".into(),
            size: 1_000_000,
            partition_names: vec!["system".into()],
        }],
        snapshot_enabled: true,
        vabc_enabled: true,
        vabc_compression_param: "lz4".into(),
        cow_version: 3,
        compression_factor: 65536,
    };
    assert_eq!(dynamic.metadata, Some(expected));
    let [boot, system] = dynamic.partitions.try_into().unwrap();
    assert_eq!((boot.estimate_cow_size, boot.estimate_op_count_max), (None, None));
    // Every block of 200 may be data, each with an operation.
    assert!(system.estimate_cow_size > Some(200 * (4096 + 20)) && system.estimate_op_count_max > Some(200));
    let slots = MemorySlots::new(&old);
    let (head, mut blobs) = (head(&inside), blobs(&inside));
    apply(
        &head,
        Checkpoint::default(),
        &mut blobs,
        &slots,
        &mut Journal::default(),
    )
    .unwrap();

    // What a payload says already stays, and so does its signature.
    let (again, summary) = package(&inside, &description(), None);
    assert!(again == zip && summary.dynamic && summary.signature == SignatureKind::Kept);

    let plain = read(&payload_of(&package(&payload, &told(groups), None).0));
    assert_eq!(
        plain
            .metadata
            .map(|told| (told.snapshot_enabled, told.vabc_enabled)),
        Some((false, false))
    );
    assert!(
        plain
            .partitions
            .iter()
            .all(|update| update.estimate_cow_size.is_none())
    );
    assert!(!package(&payload, &description(), None).1.dynamic);

    let missing = groups.replace("=system", "=system vendor");
    let error = refused(&payload, &told(&missing), None);
    assert!(
        matches!(&error, PackageError::Dynamic(DynamicError::NotInPayload { partition, .. }) if partition == "vendor"),
        "{error:?}"
    );
    let error = refused(&payload, &told(&groups.replace("1000000", "819199")), None);
    assert!(
        matches!(
            &error,
            PackageError::Dynamic(DynamicError::TooLarge { needs: 819_200, .. })
        ),
        "{error:?}"
    );
}
