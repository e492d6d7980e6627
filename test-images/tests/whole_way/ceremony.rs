//! The walkthroughs of docs/ceremony.md, with the server and a device that follows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use millet_protocol::PayloadKind;
use millet_test_images::fleet::{Finished, ServerProcess, run};

use crate::world::{CHANNEL, MODEL, World, build, weekly};

/// A machine without a network that holds some keys, and the first root to compare with.
struct Offline<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl<'a> Offline<'a> {
    /// Moves private keys away from the workshop.
    fn with_keys(world: &'a World, name: &str, keys: &[&str]) -> Self {
        let folder = world.folder.path().join(name);
        fs::create_dir_all(folder.join("keys")).unwrap();
        fs::create_dir_all(folder.join(".millet")).unwrap();
        fs::copy(world.workshop.first_root(), folder.join(".millet/1.root.json")).unwrap();
        fs::write(folder.join(PASSPHRASES), "").unwrap();
        for key in keys {
            let (private, public) = (format!("keys/{key}.key"), format!("keys/{key}.pub"));
            fs::rename(workshop(world).join(&private), folder.join(&private)).unwrap();
            fs::copy(workshop(world).join(&public), folder.join(&public)).unwrap();
        }
        Self { world, folder }
    }

    /// Brings the request here, signs it with every key that is here, and returns the copy.
    fn sign(&self, request: &Path) -> (PathBuf, Finished) {
        let copy = self.folder.join("request.json");
        fs::copy(request, &copy).unwrap();
        let mut command = passphrases_given(self.world, &self.folder);
        command.args(["sign", "request.json", "--yes"]);
        for file in fs::read_dir(self.folder.join("keys")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "key") {
                command.arg("--key").arg(format!("file:{}", path.display()));
            }
        }
        let finished = run(&mut command, false).unwrap().success("millet sign").unwrap();
        (copy, finished)
    }
}

/// The file whose lines answer the questions for passphrases.
const PASSPHRASES: &str = "passphrases";

/// `millet` in a folder whose passphrases come from descriptor 3.
fn passphrases_given(world: &World, folder: &Path) -> Command {
    let mut command = Command::new("sh");
    let script = format!("exec \"$0\" --passphrase-fd 3 \"$@\" 3<{PASSPHRASES}");
    command
        .args(["-c", &script])
        .arg(&world.programs.millet)
        .current_dir(folder);
    command
}

fn workshop(world: &World) -> PathBuf {
    let root = world.workshop.first_root();
    root.parent().unwrap().parent().unwrap().to_owned()
}

fn change_config(world: &World, from: &str, to: &str) {
    let path = workshop(world).join("millet.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn request(world: &World) -> (PathBuf, String) {
    let said = world
        .workshop
        .millet(&["sign", "request", "--out", "request.json", "--yes"])
        .unwrap();
    (workshop(world).join("request.json"), said.stderr)
}

/// Imports copies and returns what was said; whether it was published shows in the repository.
fn import(world: &World, copies: &[&Path]) -> Finished {
    let mut arguments = vec!["sign", "import", "request.json", "--yes"];
    arguments.extend(copies.iter().map(|copy| copy.to_str().unwrap()));
    world.workshop.millet(&arguments).unwrap()
}

fn assert_sound(world: &World) {
    let checked = world.workshop.millet(&["repo", "check", "--full"]).unwrap();
    assert!(!checked.stdout.contains("problem"), "{}", checked.stdout);
}

#[test]
fn a_root_key_is_lost_and_replaced() {
    let world = World::new();
    world.release(1);
    world.update_to(1);

    fs::remove_file(workshop(&world).join("keys/root3.key")).unwrap();
    // Of the other kind, and opened by a passphrase.
    fs::write(workshop(&world).join(PASSPHRASES), "a week in orange\n").unwrap();
    let mut key_new = passphrases_given(&world, &workshop(&world));
    key_new.args(["key", "new", "root4", "--type", "p256", "--out", "keys"]);
    run(&mut key_new, false)
        .unwrap()
        .success("millet key new")
        .unwrap();
    change_config(&world, "root3", "root4");
    let one = Offline::with_keys(&world, "one", &["root1"]);
    let two = Offline::with_keys(&world, "two", &["root2", "root4"]);
    fs::rename(workshop(&world).join(PASSPHRASES), two.folder.join(PASSPHRASES)).unwrap();
    let (file, said) = request(&world);
    assert!(said.contains("root 1 → 2"), "{said}");
    assert_eq!(said.matches(" joins (ecdsa-sha2-nistp256)").count(), 1, "{said}");
    assert_eq!(said.matches(" leaves").count(), 1, "{said}");
    // Who signs a root with new keys vouches for every role in it.
    for stays in ["root: key ", "targets: key ", "timestamp: key "] {
        let lines = || said.lines().filter(|line| line.trim().starts_with(stays));
        assert!(lines().any(|line| line.ends_with(" stays")), "{stays} in {said}");
    }

    let (first, signed) = one.sign(&file);
    assert!(signed.stdout.contains("1 of 2"), "{}", signed.stdout);
    let unfinished = import(&world, &[&first]);
    assert!(unfinished.stdout.contains("1 of 2"), "{}", unfinished.stdout);
    assert!(file.exists(), "nothing is published before enough have signed");
    let (second, _) = two.sign(&file);
    // Any order, and one copy twice.
    let done = import(&world, &[&second, &first, &second]);
    assert!(done.stderr.contains("published"), "{}", done.stderr);

    assert_sound(&world);
    world.release(2);
    assert_eq!(world.update_to(2), PayloadKind::Delta);
}

#[test]
fn a_threshold_rises_and_the_online_roles_go_on() {
    let world = World::new();
    world
        .workshop
        .millet(&["key", "new", "targets4", "--no-passphrase", "--out", "keys"])
        .unwrap();
    change_config(
        &world,
        "\"file:keys/targets3.key\"]\nthreshold = 2",
        "\"file:keys/targets3.key\", \"file:keys/targets4.key\"]\nthreshold = 4",
    );
    let all = Offline::with_keys(
        &world,
        "all",
        &["root1", "root2", "targets1", "targets2", "targets3", "targets4"],
    );
    let (file, said) = request(&world);
    assert!(said.contains("targets: 4 of 4 must sign (was 2 of 3)"), "{said}");
    // The list of models has three signatures, so it must be signed anew in the same publication.
    assert!(said.contains("targets 2 → 3"), "{said}");
    // A thief of the old keys could have named himself for a model that is not in this millet.toml.
    assert!(
        said.contains("builds.rubik: 1 of 1 must sign, as before"),
        "{said}"
    );
    assert!(said.contains("builds.rubik: stays trusted with "), "{said}");
    let (copy, _) = all.sign(&file);
    import(&world, &[&copy]);
    assert_sound(&world);
    world.release(1);
    assert_eq!(world.update_to(1), PayloadKind::Full);
}

#[test]
fn a_release_engineer_joins_and_both_sign_from_then_on() {
    let world = World::new();
    world
        .workshop
        .millet(&["key", "new", "builds2", "--no-passphrase", "--out", "keys"])
        .unwrap();
    change_config(
        &world,
        "[\"file:keys/builds1.key\"]\nthreshold = 1",
        "[\"file:keys/builds1.key\", \"file:keys/builds2.key\"]\nthreshold = 2",
    );
    let (file, said) = request(&world);
    assert!(
        said.contains("builds.rubik: 2 of 2 must sign (was 1 of 1)"),
        "{said}"
    );
    world.workshop.millet(&["sign", "request.json", "--yes"]).unwrap();
    import(&world, &[]);
    assert!(!file.exists());

    // From now on no engineer can publish alone.
    let colleague = Offline::with_keys(&world, "colleague", &["builds2"]);
    let alone = run(
        &mut world
            .workshop
            .publish_command(&weekly(&build(1), &world.images(1))),
        false,
    )
    .unwrap();
    assert_ne!(alone.status.code(), Some(0));
    assert!(alone.stderr.contains("needs 2 signatures"), "{}", alone.stderr);
    let images = world.images(1);
    let mut publish = world.workshop.publish_command(&weekly("V6.11.1", &images));
    publish.args(["--request", "request.json"]);
    run(&mut publish, false)
        .unwrap()
        .success("millet publish --request")
        .unwrap();
    let shown = world.workshop.millet(&["sign", "show", "request.json"]).unwrap();
    assert!(shown.stdout.contains("rubik V6.11.1 of "), "{}", shown.stdout);
    let (copy, _) = colleague.sign(&file);
    world.workshop.millet(&["sign", "request.json", "--yes"]).unwrap();
    import(&world, &[&copy]);
    assert_sound(&world);
    world.workshop.roll_out(MODEL, CHANNEL, "V6.11.1").unwrap();
    assert_eq!(world.update_to(1), PayloadKind::Full);
}

#[test]
fn a_release_key_is_stolen_and_is_worth_nothing_afterwards() {
    let world = World::new();
    world.release(1);
    world.update_to(1);
    fs::copy(
        workshop(&world).join("keys/builds1.key"),
        world.folder.path().join("stolen.key"),
    )
    .unwrap();
    world
        .workshop
        .millet(&["key", "new", "builds2", "--no-passphrase", "--out", "keys"])
        .unwrap();
    // Before anyone knows, the thief offers a build that nothing could follow.
    let images = world.images(3);
    let mut evil = world.workshop.publish_command(&weekly("EVIL", &images));
    evil.args(["--sequence", "209952999"]);
    run(&mut evil, false).unwrap().success("millet publish").unwrap();
    world.workshop.roll_out(MODEL, CHANNEL, "EVIL").unwrap();

    change_config(&world, "builds1", "builds2");
    let (_, said) = request(&world);
    assert!(said.contains("builds.rubik: key"), "{said}");
    // Who signs the list anew sees all that is in it.
    for stays in [
        "stays: rubik V6.11.1 ",
        "stays: rubik EVIL ",
        "sequence 209952999",
    ] {
        assert!(said.contains(stays), "{stays} in {said}");
    }
    let again = world
        .workshop
        .try_millet(&["sign", "request", "--out", "request.json", "--yes"])
        .unwrap();
    assert!(
        again.stderr.contains("request.json is there already"),
        "{}",
        again.stderr
    );
    fs::remove_file(workshop(&world).join("request.json")).unwrap();
    let without = |build: &str| {
        let arguments = [
            "sign",
            "request",
            "--out",
            "request.json",
            "--yes",
            "--leave-out",
            build,
        ];
        world.workshop.try_millet(&arguments).unwrap().stderr
    };
    assert!(without("rubik/EVIL2").contains("rubik has no build EVIL2"));
    let said = without("rubik/EVIL");
    assert!(said.contains("gone: rubik/builds/EVIL.json"), "{said}");
    assert!(said.contains("gone: rubik/builds/EVIL.payload"), "{said}");
    world.workshop.millet(&["sign", "request.json", "--yes"]).unwrap();
    let early = world
        .workshop
        .try_millet(&["sign", "import", "request.json", "--yes"])
        .unwrap();
    assert!(
        early.stderr.contains("EVIL cannot be dropped"),
        "{}",
        early.stderr
    );
    let halt = ["rollout", "halt", "--model", MODEL, "--channel", CHANNEL, "--yes"];
    world.workshop.millet(&halt).unwrap();
    import(&world, &[]);
    // Of what was published its sequence alone is used up.
    let images = world.images(2);
    let mut same = world.workshop.publish_command(&weekly("V6.11.2", &images));
    same.args(["--sequence", "209952999"]);
    let same = run(&mut same, false).unwrap();
    assert!(same.stderr.contains("is that of EVIL"), "{}", same.stderr);
    assert!(same.stderr.contains("(`--sequence`)"), "{}", same.stderr);
    world.release(2);
    assert_sound(&world);
    assert_eq!(world.update_to(2), PayloadKind::Delta);

    // The thief has the workshop, the publishing token and the old key.
    let thief = workshop(&world).join("keys/builds1.key");
    fs::copy(world.folder.path().join("stolen.key"), &thief).unwrap();
    fs::set_permissions(&thief, fs::Permissions::from_mode(0o600)).unwrap();
    change_config(&world, "builds2", "builds1");
    let mut publish = world.workshop.publish_command(&weekly("V6.11.3", &images));
    let refused = run(&mut publish, false).unwrap();
    assert_ne!(refused.status.code(), Some(0));
    assert!(
        refused.stderr.contains("not the keys that the repository trusts"),
        "{}",
        refused.stderr
    );
    publish.args(["--request", "theft.json"]);
    run(&mut publish, false)
        .unwrap()
        .success("millet publish --request")
        .unwrap();
    let signed = world
        .workshop
        .try_millet(&["sign", "theft.json", "--yes"])
        .unwrap();
    assert!(signed.stderr.contains("nothing was signed"), "{}", signed.stderr);
}

#[test]
fn the_servers_keys_are_stolen_and_replaced() {
    let mut world = World::new();
    world.release(1);
    world.update_to(1);

    let (data, address) = (world.server.data().to_owned(), world.server.address().to_owned());
    world.server.kill().unwrap();
    fs::remove_dir_all(data.join("keys")).unwrap();
    world.server = ServerProcess::start(&world.programs, &data, &address).unwrap();
    let (_, said) = request(&world);
    assert!(
        said.contains("others than those that you agreed to before"),
        "{said}"
    );
    for role in ["snapshot", "timestamp", "deltas.rubik", "rollouts.rubik"] {
        assert!(said.contains(&format!("{role}: key")), "{role} in {said}");
    }
    world.workshop.millet(&["sign", "request.json", "--yes"]).unwrap();
    import(&world, &[]);

    assert_sound(&world);
    world.release(2);
    assert_eq!(world.update_to(2), PayloadKind::Delta);
}

#[test]
fn a_request_that_was_tampered_with_is_not_signed() {
    let world = World::new();
    let (file, _) = {
        let said = world
            .workshop
            .millet(&["sign", "request", "root", "--out", "request.json"])
            .unwrap();
        (workshop(&world).join("request.json"), said)
    };
    let text = fs::read_to_string(&file).unwrap();
    let mut request: serde_json::Value = serde_json::from_str(&text).unwrap();
    let refused = |request: &serde_json::Value, word: &str| {
        fs::write(&file, request.to_string()).unwrap();
        let finished = world
            .workshop
            .try_millet(&["sign", "request.json", "--yes"])
            .unwrap();
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains(word), "{word} in {}", finished.stderr);
    };
    let original = request.clone();
    request["summary"][0] = "nothing of importance".into();
    refused(&request, "its summary does not say what it changes");

    request = original.clone();
    let message = request["messages"]["root"]
        .as_str()
        .unwrap()
        .replacen('7', "8", 1);
    request["messages"]["root"] = message.into();
    refused(&request, "the bytes to sign are not those of the files in it");

    request = original;
    request["roots"] = serde_json::json!([]);
    request["current"] = serde_json::json!({});
    refused(&request, "follows");

    fs::write(&file, text).unwrap();
    world.workshop.millet(&["sign", "request.json", "--yes"]).unwrap();
}
