use std::sync::Arc;

use jiff::SignedDuration;
use millet_server::Server;
use millet_server::edge::Clock;
use millet_server::keys::OnlineKeys;
use millet_server::metadata_writer::{MetadataWriter, WriteError};
use millet_server::store::{Commit, StoreError};
use millet_signing::Files;

use crate::engineer::Engineer;
use crate::world::World;

/// Another process's writer on the same stores.
fn other_writer(world: &World, server: &Server) -> MetadataWriter {
    let config = world.config();
    let keys = OnlineKeys::read(&world.data().join("keys")).unwrap();
    let state = server.state();
    let clock: Clock = config.clock;
    MetadataWriter::new(
        state.store.clone(),
        state.objects.clone(),
        keys,
        "another".to_owned(),
        clock,
    )
}

fn renewal() -> Vec<String> {
    vec!["snapshot".to_owned(), "timestamp".to_owned()]
}

#[test]
fn a_writer_that_lost_its_lease_changes_nothing() {
    let world = World::new();
    let engineer = Engineer::begin(&world);
    let server = world.server();
    let (first, second) = (server.state().writer.clone(), other_writer(&world, &server));

    // It falls asleep in its turn; another takes over, changes something and is done.
    let time = world.time.clone();
    let (version, slept) = world.block_on(async move {
        let turn = first.begin().await.unwrap();
        let woken = time
            .lock()
            .unwrap()
            .checked_add(SignedDuration::from_secs(61))
            .unwrap();
        *time.lock().unwrap() = woken;
        let version = second
            .begin()
            .await
            .unwrap()
            .commit(Commit::default(), &renewal())
            .await
            .unwrap();
        (version, turn.commit(Commit::default(), &renewal()).await)
    });
    assert_eq!(version, 2);
    assert!(
        matches!(slept, Err(WriteError::Store(StoreError::Fenced))),
        "{slept:?}"
    );
    let shown = world.refresh(&engineer.shipped, Files::new());
    assert_eq!(shown.set.snapshot().unwrap().version, 2);
}

#[test]
fn two_writers_take_turns() {
    let world = World::new();
    let engineer = Engineer::begin(&world);
    let server = world.server();
    let writers = [
        server.state().writer.clone(),
        Arc::new(other_writer(&world, &server)),
    ];
    for turn in 0..6_usize {
        let writer = writers[turn % 2].clone();
        world.block_on(async move {
            writer
                .begin()
                .await
                .unwrap()
                .commit(Commit::default(), &renewal())
                .await
                .unwrap()
        });
    }
    let shown = world.refresh(&engineer.shipped, Files::new());
    assert_eq!(shown.set.snapshot().unwrap().version, 7);
}
