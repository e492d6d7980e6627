//! Payloads as files.

mod fake;

use std::fs;

use fake::{Workshop, noise};

/// Two builds of which the second moves some blocks, changes some bytes and grows.
fn images(workshop: &Workshop) {
    let old = noise(1, 200 * 4096);
    let mut new = [&old[50 * 4096..], &old[..50 * 4096], &[0; 4 * 4096]].concat();
    new[10_000..10_500].copy_from_slice(&noise(2, 500));
    workshop.write("old/system.img", &old);
    workshop.write("new/system.img", &new);
    workshop.write("old/boot.img", &noise(3, 3 * 4096));
    workshop.write("new/boot.img", &noise(3, 3 * 4096));
    workshop.write("new/README", b"not an image");
}

#[test]
fn full_and_delta_make_the_images() {
    let workshop = Workshop::empty();
    images(&workshop);
    let made = workshop.ok(&["payload", "build", "--images", "new", "--out", "full.payload"]);
    assert_eq!(made.stdout, "");
    workshop.ok(&[
        "payload",
        "delta",
        "--from",
        "old",
        "--to",
        "new",
        "--out",
        "delta.payload",
    ]);
    let verified = workshop.ok(&["payload", "verify", "full.payload", "--images", "new"]);
    assert_eq!(verified.stdout.lines().count(), 2, "{}", verified.stdout);
    workshop.ok(&[
        "payload",
        "verify",
        "delta.payload",
        "--from",
        "old",
        "--images",
        "new",
    ]);
    workshop.refused(
        &["payload", "verify", "full.payload", "--images", "old"],
        &["system"],
    );
    assert_eq!(workshop.run(&["payload", "verify", "delta.payload"]).code, 2);
    workshop.refused(
        &["payload", "verify", "delta.payload", "--from", "new"],
        &["delta.payload"],
    );

    let inspected = workshop
        .ok(&["payload", "inspect", "delta.payload", "--json"])
        .stdout;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["kind"], "delta");
    assert_eq!(inspected["partitions"][1]["new"]["size"], 204 * 4096);
    let size = |name: &str| fs::metadata(workshop.path(name)).unwrap().len();
    assert!(
        size("delta.payload") * 4 < size("full.payload"),
        "{} of {}",
        size("delta.payload"),
        size("full.payload")
    );
}

#[test]
fn images_come_out_again() {
    let workshop = Workshop::empty();
    images(&workshop);
    workshop.ok(&["payload", "build", "--images", "new", "--out", "full.payload"]);
    workshop.ok(&[
        "payload",
        "delta",
        "--from",
        "old",
        "--to",
        "new",
        "--out",
        "delta.payload",
    ]);
    let read = |path: &str| fs::read(workshop.path(path)).unwrap();
    workshop.ok(&[
        "payload",
        "apply",
        "delta.payload",
        "--from",
        "old",
        "--out",
        "made",
    ]);
    for image in ["boot.img", "system.img"] {
        assert!(
            read(&format!("made/{image}")) == read(&format!("new/{image}")),
            "{image}"
        );
    }
    let said = workshop
        .ok(&[
            "payload",
            "extract",
            "full.payload",
            "--partition",
            "system",
            "--out",
            "one",
        ])
        .stdout;
    assert!(said.ends_with("  system.img\n"), "{said}");
    assert!(read("one/system.img") == read("new/system.img"));
    assert!(!workshop.path("one/boot.img").exists());

    let count = || fs::read_dir(workshop.path("made")).unwrap().count();
    workshop.refused(
        &[
            "payload",
            "apply",
            "delta.payload",
            "--from",
            "new",
            "--out",
            "made",
        ],
        &["delta.payload could not be applied", "system"],
    );
    workshop.refused(
        &[
            "payload",
            "extract",
            "full.payload",
            "--partition",
            "vendor",
            "--out",
            "made",
        ],
        &["does not make vendor"],
    );
    assert_eq!(count(), 2);
    assert!(read("made/system.img") == read("new/system.img"));
}

#[test]
fn properties_are_what_update_engine_asks_for() {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let workshop = Workshop::empty();
    images(&workshop);
    workshop.ok(&["payload", "build", "--images", "new", "--out", "full.payload"]);
    let payload = fs::read(workshop.path("full.payload")).unwrap();
    let head = 24 + u64::from_be_bytes(payload[12..20].try_into().unwrap()) as usize;
    let digest = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(bytes));
    assert_eq!(
        workshop.ok(&["payload", "properties", "full.payload"]).stdout,
        format!(
            "FILE_HASH={}\nFILE_SIZE={}\nMETADATA_HASH={}\nMETADATA_SIZE={head}\n",
            digest(&payload),
            payload.len(),
            digest(&payload[..head])
        )
    );
}

#[test]
fn makers_tell_scripts_how_far_they_are() {
    let workshop = Workshop::empty();
    images(&workshop);
    let said = workshop
        .ok(&[
            "payload",
            "delta",
            "--from",
            "old",
            "--to",
            "new",
            "--out",
            "delta.payload",
            "--json",
        ])
        .stdout;
    let events: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |stage: &str| -> Vec<u64> {
        let events = events.iter().filter(|event| event["stage"] == stage);
        events.map(|event| event["percent"].as_u64().unwrap()).collect()
    };
    for stage in ["reading", "encoding", "verifying"] {
        let percents = of(stage);
        assert!(
            percents.is_sorted() && percents.last() == Some(&100),
            "{stage}: {percents:?}"
        );
    }
    let made = events.last().unwrap();
    assert_eq!(
        (&made["event"], &made["partitions"][1]["name"]),
        (&"made".into(), &"system".into())
    );
    assert_eq!(
        made["size"],
        fs::metadata(workshop.path("delta.payload")).unwrap().len()
    );
}

#[test]
fn inspection_says_where_the_bytes_are() {
    let workshop = Workshop::empty();
    images(&workshop);
    workshop.ok(&[
        "payload",
        "delta",
        "--from",
        "old",
        "--to",
        "new",
        "--out",
        "delta.payload",
    ]);
    let inspected = workshop
        .ok(&[
            "payload",
            "inspect",
            "delta.payload",
            "--where",
            "--svg",
            "map.svg",
            "--json",
        ])
        .stdout;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let mut bytes = 0;
    for partition in inspected["partitions"].as_array().unwrap() {
        let places = partition["where"].as_object().unwrap();
        bytes += places
            .iter()
            .filter(|(name, _)| *name != "head")
            .map(|(_, bytes)| bytes.as_u64().unwrap())
            .sum::<u64>();
    }
    // What the places leave out is the header of each patch: 32 bytes.
    let rest = inspected["blobs_length"].as_u64().unwrap() - bytes;
    assert!(rest > 0 && rest.is_multiple_of(32), "{inspected:#}");
    let map = fs::read_to_string(workshop.path("map.svg")).unwrap();
    assert!(
        map.contains("system: 204 blocks") && map.ends_with("</svg>\n"),
        "{map}"
    );
}

/// Zeros with a hash tree and FEC, as other makers leave them to the device.
#[test]
fn inspection_names_what_a_device_computes() {
    // Protocol buffers of update_metadata.proto by hand: a key with wire type 0 or 2, then a number or a length.
    let number = |field: u8, value: u8| vec![field << 3, value];
    let bytes = |field: u8, value: &[u8]| [&[field << 3 | 2, value.len() as u8][..], value].concat();
    let extent = |field, start, count| bytes(field, &[number(1, start), number(2, count)].concat());
    let partition = |name: &str, verity: &[Vec<u8>]| {
        let blocks = if verity.is_empty() { 3 } else { 6 };
        // A block is 32 times 128 bytes: the upper two of three bytes of a varint.
        let size = [1 << 3, 0x80, 0x80 | ((blocks * 32) & 0x7f), blocks / 4];
        let zeros = bytes(8, &[number(1, 6), extent(6, 0, 3)].concat());
        let info = [size.to_vec(), bytes(2, &[7; 32])].concat();
        let partition = [bytes(1, name.as_bytes()), bytes(7, &info), zeros, verity.concat()].concat();
        // Field 13 is below 16, so its key is one byte as well; its length has two.
        let length = [partition.len() as u8 | 0x80, (partition.len() >> 7) as u8];
        [&[13 << 3 | 2][..], &length, &partition].concat()
    };
    let roots = vec![0x80, 0x01, 2];
    let verity = [
        extent(10, 0, 3),
        extent(11, 3, 1),
        bytes(12, b"sha256"),
        bytes(13, &[0xab, 0x01]),
        extent(14, 0, 4),
        extent(15, 4, 2),
        roots,
    ];
    let payload = |partitions: &[Vec<u8>]| {
        let manifest = [number(12, 0), partitions.concat()].concat();
        let header = [
            b"CrAU".as_slice(),
            &2_u64.to_be_bytes(),
            &(manifest.len() as u64).to_be_bytes(),
            &[0; 4],
        ];
        [header.concat(), manifest].concat()
    };
    let workshop = Workshop::empty();
    let both = payload(&[partition("boot", &[]), partition("system", &verity)]);
    workshop.write("both.payload", &both);
    workshop.write("boot.payload", &payload(&[partition("boot", &[])]));

    let table = workshop.ok(&["payload", "inspect", "both.payload"]).stdout;
    let lines: Vec<&str> = table.lines().collect();
    let line = |start: &str| {
        *lines
            .iter()
            .find(|line| line.trim_start().starts_with(start))
            .unwrap()
    };
    assert!(line("partition").contains("computed by the device"), "{table}");
    assert!(
        line("system").contains("sha256 hash tree: 1 block, FEC with 2 roots: 2 blocks"),
        "{table}"
    );
    assert!(!line("boot").contains("hash tree"), "{table}");
    let table = workshop.ok(&["payload", "inspect", "boot.payload"]).stdout;
    assert!(!table.contains("computed by the device"), "{table}");

    let json = workshop
        .ok(&["payload", "inspect", "both.payload", "--json"])
        .stdout;
    let inspected: serde_json::Value = serde_json::from_str(&json).unwrap();
    let [boot, system] = [0, 1].map(|index| &inspected["partitions"][index]);
    assert!(boot.get("hash_tree").is_none() && boot.get("fec").is_none());
    let blocks = |start, count| serde_json::json!({"start": start, "count": count});
    assert_eq!(
        system["hash_tree"],
        serde_json::json!({"algorithm": "sha256", "salt": "ab01", "data": blocks(0, 3), "tree": blocks(3, 1)})
    );
    assert_eq!(
        system["fec"],
        serde_json::json!({"roots": 2, "data": blocks(0, 4), "parity": blocks(4, 2)})
    );
}

#[test]
fn a_full_payload_stands_for_its_images() {
    let workshop = Workshop::empty();
    images(&workshop);
    workshop.ok(&["payload", "build", "--images", "new", "--out", "full.payload"]);
    let again = workshop.ok(&[
        "payload",
        "build",
        "--images",
        "full.payload",
        "--out",
        "again.payload",
    ]);
    assert!(
        again
            .stderr
            .contains("full.payload: full payload of boot, system"),
        "{}",
        again.stderr
    );
    let read = |name: &str| fs::read(workshop.path(name)).unwrap();
    assert!(read("again.payload") == read("full.payload"));
    let delta = [
        "payload",
        "delta",
        "--from",
        "old",
        "--to",
        "full.payload",
        "--out",
        "delta.payload",
    ];
    workshop.ok(&delta);
    workshop.ok(&[
        "payload",
        "verify",
        "delta.payload",
        "--from",
        "old",
        "--images",
        "new",
    ]);
    workshop.refused(
        &["payload", "build", "--images", "delta.payload", "--out", "x"],
        &["delta.payload is a delta payload", "take the full payload"],
    );
    workshop.refused(
        &["payload", "build", "--images", "new/README", "--out", "x"],
        &["new/README is neither a folder", "OTA zip"],
    );
}

#[test]
fn a_damaged_payload_does_not_verify_and_leaves_nothing() {
    let workshop = Workshop::empty();
    images(&workshop);
    workshop.ok(&["payload", "build", "--images", "new", "--out", "full.payload"]);
    let whole = fs::read(workshop.path("full.payload")).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    workshop.write("flipped.payload", &flipped);
    workshop.refused(
        &["payload", "verify", "flipped.payload"],
        &["flipped.payload does not verify", "because"],
    );
    workshop.write("cut.payload", &whole[..whole.len() - 1]);
    workshop.refused(&["payload", "verify", "cut.payload"], &["cut off"]);
    workshop.write("other.payload", b"PK");
    workshop.refused(&["payload", "inspect", "other.payload"], &["cut off"]);
    workshop.write("other.payload", &noise(9, 100));
    workshop.refused(&["payload", "inspect", "other.payload"], &["not a payload"]);
}

#[test]
fn images_that_cannot_be_are_refused_by_name() {
    let workshop = Workshop::empty();
    let build = |folder: &str| {
        [
            "payload".to_owned(),
            "build".into(),
            "--images".into(),
            folder.into(),
            "--out".into(),
            "x".into(),
        ]
    };
    let refused = |folder: &str, words: &[&str]| {
        workshop.refused(
            &build(folder).iter().map(String::as_str).collect::<Vec<_>>(),
            words,
        );
        assert!(!workshop.path("x").exists());
    };
    refused("nowhere", &["nowhere"]);
    workshop.write("empty/note.txt", b"");
    refused("empty", &["empty holds no image"]);
    workshop.write("odd/kernel.img", &noise(1, 5_000));
    refused(
        "odd",
        &["odd/kernel.img has 5000 bytes", "multiple of 4096", "--pad"],
    );
    workshop.write("zero/boot.img", b"");
    refused("zero", &["zero/boot.img is empty"]);
    for name in ["system_a", "userdata", "misc", "Boot", ".."] {
        let folder = format!("unsafe-{name}");
        workshop.write(&format!("{folder}/{name}.img"), &noise(1, 4096));
        refused(&folder, &[&format!("{name}.img does not name a partition")]);
    }
    let padded = workshop.ok(&["payload", "build", "--images", "odd", "--out", "x", "--pad"]);
    assert!(padded.stderr.contains("3192 zero bytes"), "{}", padded.stderr);
    workshop.ok(&["payload", "verify", "x", "--images", "odd"]);
}

#[test]
fn an_interrupt_leaves_no_half_file() {
    use rustix::process::{Pid, Signal, kill_process};
    let workshop = Workshop::empty();
    workshop.write("images/system.img", &noise(7, 64 << 20));
    workshop.write("out/older", b"");
    let left = || fs::read_dir(workshop.path("out")).unwrap().count();
    for signal in [Signal::INT, Signal::TERM] {
        let arguments = [
            "payload",
            "build",
            "--images",
            "images",
            "--out",
            "out/full.payload",
        ];
        let mut child = workshop
            .command(&arguments)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while left() == 1 {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it was done before it could be interrupted"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(left(), 1);
    }
}
