use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn good() -> Evidence {
    Evidence {
        confirmed: 50,
        ..Evidence::default()
    }
}

fn decide(ramp: &[RampPoint], evidence: &Evidence, second: i64) -> Decision {
    next(&Plan::over(1200), &Guard::default(), ramp, evidence, at(second))
}

#[test]
fn everyone_at_once() {
    let ramp = open(&Plan::over(0), at(0));
    assert_eq!(
        ramp,
        [RampPoint {
            at: at(0),
            percent: 100.0
        }]
    );
    let decision = next(&Plan::over(0), &Guard::default(), &ramp, &good(), at(1));
    assert_eq!(decision, Decision::Hold(Hold::Everyone));
    let later = at(7 * 86_400);
    let decision = next(&Plan::over(0), &Guard::default(), &ramp, &good(), later);
    assert_eq!(decision, Decision::Complete);
}

#[test]
fn bad_news_has_its_reason() {
    let ramp = open(&Plan::over(1200), at(0));
    let back = |rolled_back| Evidence {
        rolled_back,
        ..good()
    };
    assert_eq!(
        decide(&ramp, &back(2), 100),
        Decision::Hold(Hold::WentBack { devices: 2, of: 52 })
    );
    // A halt does not wait until the climb has ended.
    assert_eq!(
        decide(&ramp, &back(6), 50),
        Decision::Halt(HaltReason::WentBack { devices: 6, of: 56 })
    );
    let silent = Evidence {
        trying: 1,
        ..Evidence::default()
    };
    assert_eq!(
        decide(&ramp, &silent, 100),
        Decision::Hold(Hold::Silent { devices: 1, of: 1 })
    );
    let failing = Evidence { failed: 20, ..good() };
    assert_eq!(
        decide(&ramp, &failing, 100),
        Decision::Hold(Hold::Failing { devices: 20, of: 70 })
    );
    assert!(matches!(
        decide(&ramp, &Evidence::default(), 100),
        Decision::Widen(_)
    ));
}

#[test]
fn one_broken_phone_is_not_a_broken_build() {
    let ramp = open(&Plan::over(0), at(0));
    let one = Evidence {
        rolled_back: 1,
        ..Evidence::default()
    };
    assert!(!matches!(decide(&ramp, &one, 10), Decision::Halt(_)));
}

/// What may happen to a rollout between two looks at it.
#[derive(Debug, Clone)]
enum Event {
    Tick(i64, Evidence),
    Pause(i64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let evidence =
        (0u64..9, 0u64..60, 0u64..3, 0u64..9).prop_map(|(trying, confirmed, rolled_back, failed)| Evidence {
            trying,
            confirmed,
            rolled_back,
            failed,
        });
    let event = prop_oneof![
        4 => (0i64..400, evidence).prop_map(|(wait, evidence)| Event::Tick(wait, evidence)),
        1 => (0i64..2000).prop_map(Event::Pause),
    ];
    proptest::collection::vec(event, 1..60)
}

/// Runs events; hands every (ramp before, ramp after, now) to `check`.
fn run(
    seconds: u64,
    events: &[Event],
    mut check: impl FnMut(&[RampPoint], &[RampPoint], Timestamp) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let plan = Plan::over(seconds);
    let mut now = at(0);
    let mut ramp = open(&plan, now);
    for event in events {
        let before = ramp.clone();
        match event {
            Event::Tick(wait, evidence) => {
                now = now.checked_add(SignedDuration::from_secs(*wait)).unwrap();
                match next(&plan, &Guard::default(), &ramp, evidence, now) {
                    Decision::Widen(points) => ramp.extend(points),
                    Decision::Hold(_) | Decision::Complete => {}
                    Decision::Halt(_) => ramp = freeze(&ramp, now),
                }
            }
            Event::Pause(length) => {
                ramp = freeze(&ramp, now);
                check(&before, &ramp, now)?;
                now = now.checked_add(SignedDuration::from_secs(*length)).unwrap();
                continue;
            }
        }
        check(&before, &ramp, now)?;
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_ramp_only_goes_forward_and_up(seconds in 0u64..5000, events in events()) {
        run(seconds, &events, |_, ramp, _| {
            for pair in ramp.windows(2) {
                prop_assert!(pair[0].at <= pair[1].at && pair[0].percent <= pair[1].percent, "{ramp:?}");
            }
            prop_assert!(ramp.iter().all(|point| (0.0..=100.0).contains(&point.percent)));
            Ok(())
        })?;
    }

    #[test]
    fn the_past_never_changes_and_nothing_fires_at_once(seconds in 1u64..5000, events in events(), back in 0i64..5000) {
        run(seconds, &events, |before, after, now| {
            for moment in [now, now.checked_sub(SignedDuration::from_secs(back)).unwrap()] {
                let (old, new) = (share_at(before, moment), share_at(after, moment));
                prop_assert!((old - new).abs() < 1e-6, "at {moment}: {old} became {new}: {before:?} {after:?}");
            }
            Ok(())
        })?;
    }

    #[test]
    fn after_a_pause_nothing_rises_by_itself(seconds in 1u64..5000, paused_at in 0i64..5000, later in 0i64..9000) {
        let ramp = freeze(&open(&Plan::over(seconds), at(0)), at(paused_at));
        prop_assert_eq!(share_at(&ramp, at(paused_at + later)), share_at(&ramp, at(paused_at)));
    }

    #[test]
    fn bad_news_never_widens(seconds in 1u64..5000, back in 1u64..40, second in 0i64..9000) {
        let evidence = Evidence { rolled_back: back, confirmed: 9, ..Evidence::default() };
        let plan = Plan::over(seconds);
        let decision = next(&plan, &Guard::default(), &open(&plan, at(0)), &evidence, at(second));
        prop_assert!(!matches!(decision, Decision::Widen(_)));
    }

    #[test]
    fn good_news_reaches_everyone_in_the_planned_time_and_not_before(seconds in 12u64..5000) {
        let plan = Plan::over(seconds);
        let mut ramp = open(&plan, at(0));
        // The server looks exactly when the ramp has been used up.
        for _ in 0..10 {
            let promised = forecast(&plan, &ramp, at(0)).first().copied();
            if let Decision::Widen(points) = next(&plan, &Guard::default(), &ramp, &good(), ramp.last().unwrap().at) {
                ramp.extend(points);
                prop_assert_eq!(ramp.last().copied(), promised);
            }
        }
        let end = ramp.last().unwrap();
        prop_assert_eq!(end.percent, 100.0);
        let took = end.at.duration_since(at(0)).as_secs_f64();
        prop_assert!((took - seconds as f64).abs() < 0.1, "{took} for {seconds}");
    }

    #[test]
    fn a_pause_costs_its_own_length(seconds in 60u64..5000, paused_at in 1i64..50, length in 1i64..5000) {
        let plan = Plan::over(seconds);
        let finish = |mut ramp: Vec<RampPoint>, mut now: Timestamp| {
            for _ in 0..12 {
                if let Decision::Widen(points) = next(&plan, &Guard::default(), &ramp, &good(), now) {
                    ramp.extend(points);
                }
                now = now.max(ramp.last().unwrap().at);
            }
            ramp.last().unwrap().at
        };
        let through = finish(open(&plan, at(0)), at(0));
        // Paused inside the first climb, which lasts a twelfth of the whole.
        prop_assume!(paused_at < seconds.cast_signed() / 12);
        let paused = freeze(&open(&plan, at(0)), at(paused_at));
        let resumed = finish(paused, at(paused_at + length));
        let cost = resumed.duration_since(through).as_secs_f64();
        prop_assert!((cost - length as f64).abs() < 0.1, "{cost} for {length}");
    }
}
