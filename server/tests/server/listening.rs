use jiff::SignedDuration;
use millet_protocol::api::{Ballots, FeedbackList, RolloutStatus, StartRollout};
use millet_protocol::{FORMAT, Feedback, MessageKind, Outcome, Report, SignedMessage, Vote};
use millet_rollout::{Ballot, tally};
use millet_server::bounds::Bounds;
use millet_server::store::FeedbackRow;
use millet_signing::{Ed25519Key, Signer};

use crate::engineer::{Engineer, key, model, name};
use crate::world::World;

pub fn report(device: u8, outcome: Outcome) -> Report {
    Report {
        format: FORMAT,
        model: model(),
        channel: "beta".parse().unwrap(),
        to: name(47),
        outcome,
        pseudonym: hex::encode([device; 32]),
        from: None,
        error: None,
        payload: None,
        install_seconds: None,
    }
}

fn message(key: &Ed25519Key, kind: MessageKind, body: String) -> SignedMessage {
    let public = serde_json::to_value(key.public_key()).unwrap();
    let signature = key.sign(&SignedMessage::signed_bytes(kind, &body)).unwrap();
    SignedMessage {
        body,
        key: public["keyval"]["public"].as_str().unwrap().to_owned(),
        signature: hex::encode(signature),
    }
}

fn feedback(device: &Ed25519Key, text: &str) -> SignedMessage {
    let feedback = Feedback {
        model: model(),
        build: name(47),
        text: text.to_owned(),
        entry: Some("dark-mode".parse().unwrap()),
    };
    message(
        device,
        MessageKind::Feedback,
        serde_json::to_string(&feedback).unwrap(),
    )
}

fn vote(world: &World, device: &Ed25519Key, entry: &str) -> SignedMessage {
    let vote = Vote {
        model: model(),
        build: name(47),
        entry: entry.parse().unwrap(),
        confirmed_at: "2026-11-20T11:30:00Z".parse().unwrap(),
        cast_at: world.now(),
    };
    message(device, MessageKind::Vote, serde_json::to_string(&vote).unwrap())
}

fn world() -> (World, Engineer) {
    let world = World::new();
    let mut engineer = Engineer::begin(&world);
    engineer.release(&world, 47, &["beta"]);
    (world, engineer)
}

fn ballots(world: &World) -> Ballots {
    world.get("/api/v1/models/rubik/builds/V6.11.47/ballots").json()
}

#[test]
fn a_device_counts_once_with_its_latest_report() {
    let (world, _) = world();
    let start = StartRollout {
        build: name(47),
        over_seconds: None,
        polls_seconds: None,
    };
    assert_eq!(
        world.post("/models/rubik/channels/beta/rollout", &start).status,
        200
    );
    for (device, outcome) in [
        (1, Outcome::Trying),
        (2, Outcome::Trying),
        (1, Outcome::Confirmed),
        (1, Outcome::Confirmed),
        (3, Outcome::RolledBack),
    ] {
        assert_eq!(
            world.post_as("", "/reports", &report(device, outcome)).status,
            202
        );
    }
    let status: RolloutStatus = world.get("/api/v1/models/rubik/channels/beta/rollout").json();
    let counts = [
        (Outcome::Trying, 1),
        (Outcome::Confirmed, 1),
        (Outcome::RolledBack, 1),
    ];
    assert_eq!(status.outcomes, counts.into());

    let mut strange = report(1, Outcome::Trying);
    strange.to = name(48);
    assert_eq!(world.post_as("", "/reports", &strange).problem(), "unknown");
    let mut strange = report(1, Outcome::Trying);
    strange.pseudonym = "Robert'); DROP TABLE report;--".into();
    assert_eq!(world.post_as("", "/reports", &strange).problem(), "message");
    let long = "x".repeat(100_000);
    assert_eq!(world.post_as("", "/reports", &long).status, 413);
}

#[test]
fn feedback_is_signed_kept_once_and_shown() {
    let (world, _) = world();
    let device = key(1);
    let said = feedback(&device, "The <b>dark</b> mode is lovely.\nThank you!");
    assert_eq!(world.post_as("", "/feedback", &said).status, 202);
    assert_eq!(world.post_as("", "/feedback", &said).status, 202);
    world.pass(SignedDuration::from_mins(1));
    assert_eq!(
        world
            .post_as("", "/feedback", &feedback(&key(2), "Too bright."))
            .status,
        202
    );

    let mut forged = said.clone();
    forged.body = forged.body.replace("lovely", "dreadful");
    assert_eq!(world.post_as("", "/feedback", &forged).problem(), "signature");
    // A vote's signature does not make a feedback.
    let body = said.body;
    let other_kind = message(&device, MessageKind::Vote, body);
    assert_eq!(world.post_as("", "/feedback", &other_kind).problem(), "signature");
    assert_eq!(
        world.post_as("", "/feedback", &feedback(&device, "  ")).problem(),
        "message"
    );

    let list: FeedbackList = world.get("/api/v1/models/rubik/builds/V6.11.47/feedback").json();
    let texts: Vec<_> = list.feedback.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(
        texts,
        ["Too bright.", "The <b>dark</b> mode is lovely.\nThank you!"]
    );
    assert_eq!(list.feedback[0].device.len(), 8);
    assert_ne!(list.feedback[0].device, list.feedback[1].device);
    let page = String::from_utf8(world.get("/").body).unwrap();
    assert!(
        page.contains("Too bright.") && page.contains("mode is lovely."),
        "{page}"
    );
    assert!(!page.contains("<b>dark"), "{page}");
    assert!(page.contains("Fri 20 Nov, 20:01 CST"), "{page}");
}

#[test]
fn what_an_earlier_version_stored_spoils_no_list() {
    let (world, _) = world();
    let device = key(1);
    let said = feedback(&device, "Too bright.");
    let with = |field: &str| said.body.replacen('{', &format!("{{{field},"), 1);
    let strange = message(&device, MessageKind::Feedback, with("\"mood\":\"good\""));
    assert_eq!(world.post_as("", "/feedback", &strange).problem(), "json");

    let feedback: Feedback = serde_json::from_str(&said.body).unwrap();
    let unreadable = message(&device, MessageKind::Feedback, "{\"words\":\"No.\"}".to_owned());
    let server = world.server();
    let now = world.now();
    world.block_on(async move {
        for message in [strange, unreadable] {
            let row = FeedbackRow {
                message,
                feedback: feedback.clone(),
            };
            let state = server.state();
            state.store.put_feedback(&row, &state.bounds, now).await.unwrap();
        }
    });
    let list: FeedbackList = world.get("/api/v1/models/rubik/builds/V6.11.47/feedback").json();
    let texts: Vec<_> = list.feedback.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["Too bright."]);
    let page = world.get("/");
    assert_eq!(page.status, 200);
    assert!(String::from_utf8(page.body).unwrap().contains("Too bright."));
}

#[test]
fn one_device_has_one_vote() {
    let (world, _) = world();
    let (one, two) = (key(1), key(2));
    let first = vote(&world, &one, "dark-mode");
    for _ in 0..2 {
        assert_eq!(world.post_as("", "/votes", &first).status, 202);
    }
    assert_eq!(
        world
            .post_as("", "/votes", &vote(&world, &two, "dark-mode"))
            .status,
        202
    );
    assert_eq!(ballots(&world).tally, [("dark-mode".parse().unwrap(), 2)].into());

    // The owner thinks again; and nobody can send the old ballot, which was public, once more.
    world.pass(SignedDuration::from_mins(1));
    assert_eq!(
        world
            .post_as("", "/votes", &vote(&world, &one, "quiet-camera"))
            .status,
        202
    );
    assert_eq!(world.post_as("", "/votes", &first).problem(), "old-ballot");
    let counted = ballots(&world);
    let both = [("dark-mode", 1), ("quiet-camera", 1)].map(|(id, votes)| (id.parse().unwrap(), votes));
    assert_eq!((counted.ballots.len(), counted.tally), (2, both.into()));

    assert_eq!(
        world
            .post_as("", "/votes", &vote(&world, &one, "not-there"))
            .problem(),
        "unknown"
    );
    let mut forged = vote(&world, &one, "dark-mode");
    forged.key = vote(&world, &two, "dark-mode").key;
    assert_eq!(world.post_as("", "/votes", &forged).problem(), "signature");
    world.pass(SignedDuration::from_hours(48));
    let early = vote(&world, &one, "dark-mode");
    world.pass(SignedDuration::from_hours(-48));
    assert_eq!(world.post_as("", "/votes", &early).problem(), "message");
}

#[test]
fn a_ballot_says_what_it_must_and_no_more() {
    let (world, _) = world();
    let device = key(1);
    let plain = vote(&world, &device, "dark-mode").body;
    let with = |field: &str| plain.replacen('{', &format!("{{{field},"), 1);
    let padded = message(&device, MessageKind::Vote, plain.clone() + &" ".repeat(1024));
    assert_eq!(world.post_as("", "/votes", &padded).problem(), "message");
    let strange = message(&device, MessageKind::Vote, with("\"why\":\"because\""));
    assert_eq!(world.post_as("", "/votes", &strange).problem(), "json");
    assert_eq!(ballots(&world).ballots, []);
}

#[test]
fn a_listing_comes_in_pages_that_hold_everything_once() {
    let (world, _) = world();
    let (model, devices) = (model(), 1..=230_u8);
    for device in devices.clone() {
        let entry = if device % 3 == 0 {
            "quiet-camera"
        } else {
            "dark-mode"
        };
        let ballot = vote(&world, &key(device), entry);
        assert_eq!(world.post_as("", "/votes", &ballot).status, 202);
        // Several within one millisecond.
        if device % 7 == 0 {
            world.pass(SignedDuration::from_millis(1));
        }
        let said = feedback(&key(device), &format!("It is device {device}."));
        assert_eq!(world.post_as("", "/feedback", &said).status, 202);
    }
    let (mut pages, mut counted) = (Vec::new(), Vec::new());
    let mut next = Some(format!("/api/v1/models/{model}/builds/V6.11.47/ballots"));
    while let Some(address) = next {
        let page: Ballots = world.get(&address).json();
        pages.push(page.ballots.len());
        counted.extend(page.ballots.iter().map(|message| {
            let vote: Vote = serde_json::from_str(&message.body).unwrap();
            Ballot {
                key: message.key.clone(),
                entry: vote.entry,
                cast_at: vote.cast_at,
            }
        }));
        if page.next.is_none() {
            assert_eq!(tally(counted.clone()), page.tally);
        }
        next = page.next;
    }
    assert_eq!(pages, [200, 30]);
    let mut next = Some(format!("/api/v1/models/{model}/builds/V6.11.47/feedback"));
    let mut texts = Vec::new();
    while let Some(address) = next {
        let page: FeedbackList = world.get(&address).json();
        texts.extend(page.feedback.into_iter().map(|one| one.text));
        next = page.next;
    }
    texts.sort();
    let mut all: Vec<_> = devices.map(|device| format!("It is device {device}.")).collect();
    all.sort();
    assert_eq!(texts, all);
    let page = String::from_utf8(world.get("/").body).unwrap();
    assert!(page.contains("230 votes") && page.contains("154 votes"), "{page}");
    let astray = format!("/api/v1/models/{model}/builds/V6.11.47/feedback?after=x");
    assert_eq!(world.get(&astray).problem(), "name");
}

#[test]
fn strangers_leave_so_much_within_an_hour() {
    let (mut world, _) = world();
    world.bounds = Bounds {
        keys: 3,
        feedback: 4,
        feedback_of_a_key: 3,
        reporters: 2,
    };
    world.restart();
    let cast = |world: &World, device: u8| {
        let answer = world.post_as("", "/votes", &vote(world, &key(device), "dark-mode"));
        (answer.status, answer.header("retry-after").to_owned())
    };
    let (taken, crowded) = ((202, String::new()), (429, "600".to_owned()));
    for device in 1..=3 {
        assert_eq!(cast(&world, device), taken);
    }
    assert_eq!(cast(&world, 4), crowded);
    world.pass(SignedDuration::from_mins(59));
    assert_eq!(cast(&world, 4), crowded);
    // Who is known may change their mind.
    assert_eq!(cast(&world, 1), taken);
    assert_eq!(ballots(&world).ballots.len(), 3);
    world.pass(SignedDuration::from_mins(1));
    assert_eq!(cast(&world, 4), taken);

    let say = |device, text: &str| {
        let answer = world.post_as("", "/feedback", &feedback(&key(device), text));
        if answer.status == 429 {
            assert_eq!(answer.problem(), "crowded");
        }
        answer.status
    };
    let said = ["a", "b", "c", "d", "c"].map(|text| say(1, text));
    assert_eq!(said, [202, 202, 202, 429, 202]);
    assert_eq!([say(2, "a"), say(3, "a")], [202, 429]);

    let tell = |device, outcome| {
        let answer = world.post_as("", "/reports", &report(device, outcome));
        answer.status
    };
    let told = [1, 2, 3, 2].map(|device| tell(device, Outcome::Trying));
    assert_eq!(told, [202, 202, 429, 202]);
    world.pass(SignedDuration::from_hours(1));
    assert_eq!(tell(3, Outcome::Confirmed), 202);
}

#[test]
fn the_first_message_enrols_a_key() {
    let (world, _) = world();
    let said = feedback(&key(1), "Hello.");
    let first = world.now();
    world.post_as("", "/feedback", &said);
    world.pass(SignedDuration::from_mins(9));
    world.post_as("", "/votes", &vote(&world, &key(1), "dark-mode"));
    let server = world.server();
    let enrolled = world.block_on(async move { server.state().store.enrolled(&said.key).await.unwrap() });
    assert_eq!(enrolled, Some(first));
}
