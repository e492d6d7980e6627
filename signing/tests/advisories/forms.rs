//! What a file says, and how.

use millet_signing::metadata::{MetaFile, TargetFile};
use millet_signing::{Files, FormError, Limits, Refresh, Step, TrustError, verify, verify_first_root};
use serde_json::{Value, json};

use crate::maker::{Repository, TARGET, key, now, sign_json_by, signed_part};
use crate::{BUILDS, refusal, whole_refresh};

/// Valid JSON of the wrong shape is refused in words, signed or not: every value of every file, replaced by every kind.
///
/// Red when `serde_json::from_value(signed)?` in `Envelope::role` becomes an `unwrap`, as with any other `?` there.
#[test]
fn l13_json_of_the_wrong_shape_is_an_error() {
    let kinds = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("é\u{0}\u{202e}"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"": {}}),
    ];
    let mut offered = Repository::of(&[("rubik", 31)]);
    offered.bare = true;
    offered.publish();
    let (mut refused, mut taken) = (0, 0);
    for (name, signers) in [
        ("1.root.json", vec![key(1), key(2)]),
        ("timestamp.json", vec![key(22)]),
        ("1.snapshot.json", vec![key(21)]),
        ("1.targets.json", vec![key(11), key(12)]),
    ] {
        let good = offered.published[name].clone();
        let signed = signed_part(&good);
        for pointer in pointers(&signed) {
            for kind in &kinds {
                let mut changed = signed.clone();
                *changed.pointer_mut(&pointer).unwrap() = kind.clone();
                let bytes = if kind.is_f64() {
                    // Nobody can sign a fraction; the bytes may come all the same.
                    serde_json::to_vec(&json!({"signed": changed, "signatures": []})).unwrap()
                } else {
                    sign_json_by(&changed, &signers)
                };
                offered.published.insert(name.to_owned(), bytes);
                // What is well signed and well formed by chance is taken: an unknown field may hold anything.
                match whole_refresh(&offered) {
                    Ok(()) => taken += 1,
                    Err(error) => {
                        assert!(!error.to_string().is_empty());
                        refused += 1;
                    }
                }
            }
        }
        offered.published.insert(name.to_owned(), good);
        whole_refresh(&offered).unwrap();
    }
    for kind in &kinds {
        for file in [
            kind.clone(),
            json!({"signed": kind}),
            json!({"signed": kind, "signatures": kind}),
        ] {
            assert!(verify_first_root(&serde_json::to_vec(&file).unwrap()).is_err());
        }
    }
    println!("{refused} shapes refused, {taken} taken");
    assert!(refused > 1_000 && taken < refused / 4);
}

/// Every value in a document, the document itself included.
fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| (name.replace('~', "~0").replace('/', "~1"), field))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        all.extend(pointers(child).into_iter().map(|below| format!("/{name}{below}")));
    }
    all
}

/// Lengths and versions around 2³¹, 2³² and 2⁶³ are themselves: none is cut to another, and none makes room for itself.
///
/// Red without `.min(limit)` in `Refresh::next`, and when `TargetFile::matches` compares lengths in 32 bits.
#[test]
fn l16_sizes_around_powers_of_two() {
    let edges = [31, 32, 63].map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
    for size in edges.into_iter().flatten().chain([u64::MAX]) {
        let mut repository = Repository::of(&[("rubik", 31)]);
        let mut file = TargetFile::of(b"manifest");
        file.length = size;
        repository.role(BUILDS).targets.insert(TARGET.into(), file);
        repository.role(BUILDS).version = size;
        repository.targets.version = size;
        repository.snapshot.version = size;
        repository.timestamp.version = size;
        repository.publish();
        let known = repository.refresh(Files::new(), &[BUILDS]).unwrap();
        assert_eq!(known.set.target(TARGET).unwrap().length, size);
        assert!(!known.set.target(TARGET).unwrap().matches(b"manifest"));
        assert_eq!(known.set.timestamp().unwrap().version, size);
        // One below it is older.
        repository.timestamp.version = size - 1;
        repository.publish();
        assert!(matches!(
            refusal(&repository, &known.files),
            TrustError::Rollback { trusted, offered, .. } if (trusted, offered) == (size, size - 1)
        ));
        // A file of that length is not asked for.
        let mut listed = MetaFile::of(size, b"");
        listed.length = Some(size);
        repository.timestamp.version = size;
        let expires = repository.timestamp.expires;
        repository.timestamp = millet_signing::metadata::Timestamp::new(size, now(), expires, listed);
        repository.publish_timestamp();
        let root = repository.first_root();
        let mut refresh = Refresh::start(&root, Files::new(), &[], Limits::default(), now()).unwrap();
        refresh.supply(None).unwrap();
        refresh
            .supply(repository.published.get("timestamp.json").cloned())
            .unwrap();
        assert!(matches!(
            refresh.next(),
            Step::Fetch {
                max_length: 2_000_000,
                ..
            }
        ));
        assert!(matches!(
            refresh.supply(Some(Vec::new())),
            Err(TrustError::Length { expected, actual: 0, .. }) if expected == size
        ));
    }
    // 2³² bytes and those of the file are not those of the file.
    let mut longer = TargetFile::of(b"manifest");
    longer.length += 1 << 32;
    assert!(!longer.matches(b"manifest"));
}

/// Every byte of a signed file, changed to every other value, is refused or leaves what it says.
///
/// Red without `authority.check(&envelope)?` (`verify`). The whole set of files: `flips` in the test program `proof`.
#[test]
fn l17_every_byte_of_a_signed_file_is_flipped() {
    let mut repository = Repository::of(&[("rubik", 31)]);
    repository
        .timestamp
        .other
        .insert("x_future".into(), json!({"a": [1]}));
    repository.publish_timestamp();
    let authority = repository.root.authority("timestamp").unwrap();
    let file = &repository.published["timestamp.json"];
    let read = |bytes: &[u8]| verify::<millet_signing::metadata::Timestamp>(bytes, &authority);
    let meant = read(file).unwrap();
    let mut kept = 0;
    for at in 0..file.len() {
        for flip in 1..=255_u8 {
            let mut changed = file.clone();
            changed[at] ^= flip;
            if let Ok(read) = read(&changed) {
                assert_eq!(read, meant);
                assert_eq!(signed_part(&changed), signed_part(file));
                kept += 1;
            }
        }
    }
    // Hexadecimal digits a to f of the one signature may be capitals.
    println!("{} bytes, {kept} changes of case", file.len());
    assert!((20..128).contains(&kept), "{kept}");
}

/// Nothing is decided by what stands outside of `signed`.
///
/// Red when `Envelope::role` reads a field from the file and not from `signed`.
#[test]
fn l19_no_decision_rests_on_an_unsigned_field() {
    let repository = Repository::of(&[("rubik", 31)]);
    let meant = repository.refresh(Files::new(), &[BUILDS]).unwrap();
    let mut bare = Repository::of(&[("rubik", 31)]);
    bare.bare = true;
    bare.publish();
    let unsigned = json!({
        "version": 99, "expires": "2099-01-01T00:00:00Z", "_type": "root", "spec_version": "9.9", "threshold": 0,
        "keys": {}, "roles": {}, "meta": {}, "targets": {}, "delegations": null, "x_millet_signed": "2099-01-01T00:00:00Z",
        "consistent_snapshot": false, "terminating": true,
    });
    for bytes in bare.published.values_mut() {
        let mut file: Value = serde_json::from_slice(bytes).unwrap();
        file.as_object_mut()
            .unwrap()
            .extend(unsigned.as_object().unwrap().clone());
        for signature in file["signatures"].as_array_mut().unwrap() {
            let more = json!({"method": "none", "keyval": {"public": "00"}, "threshold": 0, "valid": true});
            signature
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
        }
        *bytes = serde_json::to_vec(&file).unwrap();
    }
    let read = bare.refresh(Files::new(), &[BUILDS]).unwrap();
    assert_eq!(read.set.root(), meant.set.root());
    assert_eq!(read.set.targets(), meant.set.targets());
    assert_eq!(read.set.delegated(BUILDS), meant.set.delegated(BUILDS));
    let (read, meant) = (read.set.timestamp().unwrap(), meant.set.timestamp().unwrap());
    assert_eq!(
        (read.version, read.expires, read.signed_at),
        (meant.version, meant.expires, meant.signed_at)
    );
    // And what stands in `signed` cannot come from outside of it.
    let mut file: Value = serde_json::from_slice(&repository.published["timestamp.json"]).unwrap();
    file["signed"].as_object_mut().unwrap().remove("x_millet_signed");
    file["x_millet_signed"] = "2026-11-20T12:00:00Z".into();
    let authority = repository.root.authority("timestamp").unwrap();
    let refused =
        verify::<millet_signing::metadata::Timestamp>(&serde_json::to_vec(&file).unwrap(), &authority);
    assert!(matches!(refused, Err(TrustError::Signatures { valid: 0, .. })));
}

/// One name twice in an object means two things to two readers: refused at any depth, signed or not.
///
/// Red without `if object.contains_key(&name)` (`StrictVisitor::visit_map`).
#[test]
fn l24_json_names_that_stand_twice_are_refused() {
    let repository = Repository::of(&[("rubik", 31)]);
    let mut doubled = 0;
    for bytes in repository.published.values() {
        let text = String::from_utf8(bytes.clone()).unwrap();
        // Behind each `{` the first field is written once more, with another value.
        for (at, _) in text.match_indices("{\"") {
            let end = at + 2 + text[at + 2..].find('"').unwrap();
            let field = &text[at + 2..end];
            for value in ["0", "null", "{}"] {
                let twice = format!("{}\"{field}\":{value},{}", &text[..=at], &text[at + 1..]);
                serde_json::from_str::<Value>(&twice).unwrap();
                let refused = verify_first_root(twice.as_bytes()).unwrap_err();
                let TrustError::Form {
                    source: FormError::Json(source),
                    ..
                } = refused
                else {
                    panic!("{refused}");
                };
                let said = source.to_string();
                assert!(
                    said.contains(&format!("the name {field:?} stands twice")),
                    "{said}"
                );
                doubled += 1;
            }
        }
    }
    println!("{doubled} names written twice");
    assert!(doubled > 100);
    // One name in two spellings is one name.
    let escaped = br#"{"signed":{"a":1,"\u0061":2},"signatures":[]}"#;
    let refused = verify_first_root(escaped).unwrap_err();
    assert!(matches!(
        refused,
        TrustError::Form {
            source: FormError::Json(_),
            ..
        }
    ));
}
