use jiff::SignedDuration;
use millet_agent::Pass;
use millet_machine::State;
use millet_machine::policy::Reason;
use millet_protocol::{RampPoint, RolloutState, Slot};

use crate::bench::Bench;
use crate::repository::images;
use crate::server::Kind;

fn waiting(pass: Pass) -> Reason {
    match pass {
        Pass::Waiting(no) => no.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_waits_for_its_turn_and_then_takes_it() {
    let mut bench = Bench::new();
    bench.release(2);
    let (start, end) = (
        bench.repository.now,
        bench.repository.now + SignedDuration::from_hours(10),
    );
    bench.repository.offer(&bench.server, 2, |rollout| {
        rollout.ramp = vec![
            RampPoint {
                at: start,
                percent: 0.0,
            },
            RampPoint {
                at: end,
                percent: 100.0,
            },
        ];
    });
    bench.repository.publish(&bench.server);
    let Pass::Waiting(no) = bench.pass().unwrap() else {
        panic!()
    };
    assert!(matches!(no.reason, Reason::NotYet { .. }));
    let wait = no.until.unwrap().duration_since(start);
    bench.later(wait - SignedDuration::from_secs(1));
    assert!(matches!(waiting(bench.pass().unwrap()), Reason::NotYet { .. }));
    bench.later(SignedDuration::from_secs(1));
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
}

#[test]
fn now_skips_the_wave_and_nothing_else() {
    let mut bench = Bench::new();
    bench.release(2);
    bench
        .repository
        .offer(&bench.server, 2, |rollout| rollout.ramp.clear());
    bench.repository.publish(&bench.server);
    assert!(matches!(waiting(bench.pass().unwrap()), Reason::NotYet { .. }));
    let now = |bench: &Bench| bench.run(async { bench.agent()?.pass(true).await }).unwrap();
    bench
        .repository
        .offer(&bench.server, 2, |rollout| rollout.state = RolloutState::Paused);
    bench.repository.publish(&bench.server);
    assert!(matches!(waiting(now(&bench)), Reason::Paused { .. }));
    bench
        .repository
        .offer(&bench.server, 2, |rollout| rollout.ramp.clear());
    bench.repository.publish(&bench.server);
    assert_eq!(now(&bench), Pass::Rebooting);
}

/// A device whose reboot command fails stays staged: what a halt finds when it comes in time.
fn staged() -> Bench {
    let mut bench = Bench::new();
    bench.release(2);
    bench.reboot = "false";
    bench.pass().unwrap_err();
    assert!(matches!(bench.journal().state, State::Staged { .. }));
    assert_eq!(bench.block().choice(), Some(Slot::B));
    bench.reboot = "touch";
    bench
}

#[test]
fn a_halt_unstages() {
    let mut bench = staged();
    bench
        .repository
        .offer(&bench.server, 2, |rollout| rollout.state = RolloutState::Halted);
    bench.repository.publish(&bench.server);
    let Pass::Settled(no) = bench.pass().unwrap() else {
        panic!()
    };
    assert!(matches!(no.reason, Reason::Halted { .. }));
    assert!(!bench.block().slot(Slot::B).bootable());
    assert_eq!(bench.boot(), Slot::A);
}

#[test]
fn a_pause_lets_what_runs_finish() {
    let mut bench = staged();
    bench
        .repository
        .offer(&bench.server, 2, |rollout| rollout.state = RolloutState::Paused);
    bench.repository.publish(&bench.server);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::B);
}

#[test]
fn a_staged_build_that_is_superseded_is_replaced() {
    let mut bench = staged();
    bench.release(3);
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
    assert_eq!(bench.boot(), Slot::B);
    assert!(bench.holds(Slot::B, 3));
}

#[test]
fn without_a_fresh_answer_nothing_is_switched() {
    let bench = staged();
    bench
        .server
        .fault("timestamp.json", 1_000_000, Kind::Status(503, None));
    // An hour after the last look it is still good enough; after three it is not.
    bench.edge.advance(SignedDuration::from_hours(3));
    assert!(matches!(waiting(bench.pass().unwrap()), Reason::Stale { .. }));
    assert!(!bench.path("rebooted").exists());
    bench.server.heal();
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
}

#[test]
fn a_look_of_an_hour_ago_will_do_when_the_server_is_gone() {
    let bench = staged();
    bench
        .server
        .fault("root.json", 1_000_000, Kind::Status(503, None));
    bench.edge.advance(SignedDuration::from_hours(1));
    assert_eq!(bench.pass().unwrap(), Pass::Rebooting);
}

#[test]
fn a_halt_stops_a_download() {
    let mut bench = Bench::with(1500);
    bench.repository.build(&bench.server, 2, images(2, 1500), |_| ());
    bench.repository.offer(&bench.server, 2, |_| ());
    bench.repository.publish(&bench.server);
    bench.server.fault("V2.payload", 1, Kind::NoRanges);
    bench.server.fault("V2.payload", 1, Kind::Drop(5 << 20));
    bench
        .server
        .fault("V2.payload", 1_000_000, Kind::Status(503, None));
    bench.pass().unwrap_err();
    assert!(matches!(bench.journal().state, State::Writing { .. }));
    bench.server.heal();
    bench
        .repository
        .offer(&bench.server, 2, |rollout| rollout.state = RolloutState::Halted);
    bench.repository.publish(&bench.server);
    bench.payloads();
    assert!(matches!(bench.pass().unwrap(), Pass::Settled(_)));
    assert!(bench.payloads().is_empty());
    assert_eq!(bench.journal().state, State::Idle);
    assert!(!bench.block().slot(Slot::B).bootable());
}
