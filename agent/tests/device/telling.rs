use millet_agent::reports::{LEDGER, Privacy, Sent};
use millet_protocol::{Outcome, Report};

use crate::bench::Bench;
use crate::server::{Asked, Kind};

fn posts(bench: &Bench) -> Vec<Asked> {
    bench
        .server
        .asked()
        .into_iter()
        .filter(|asked| asked.method == "POST")
        .collect()
}

#[test]
fn nothing_is_told_by_default() {
    let mut bench = Bench::new();
    bench.release(2);
    bench.update();
    assert!(posts(&bench).is_empty());
    assert!(
        bench.journal().outbox.is_empty(),
        "what may not be sent is not kept either"
    );
}

#[test]
fn what_is_allowed_is_told_and_written_down_byte_for_byte() {
    let mut bench = Bench::new();
    bench.release(2);
    let privacy = Privacy {
        reports: true,
        payload: true,
        ..Privacy::default()
    };
    privacy.save(&bench.device().state).unwrap();
    bench.update();
    let posts = posts(&bench);
    let reports: Vec<Report> = posts
        .iter()
        .map(|post| serde_json::from_str(&post.body).unwrap())
        .collect();
    assert_eq!(
        reports.iter().map(|report| report.outcome).collect::<Vec<_>>(),
        [Outcome::Trying, Outcome::Confirmed]
    );
    assert_eq!(reports[0].pseudonym, reports[1].pseudonym);
    assert!(
        reports
            .iter()
            .all(|report| report.from.is_none() && report.install_seconds.is_none())
    );
    assert!(posts.iter().all(|post| post.path == "/api/v1/reports"));
    let ledger = bench.device().state.lines(LEDGER).unwrap();
    let ledger: Vec<Sent> = ledger
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        ledger
            .iter()
            .map(|sent| &sent.body)
            .eq(posts.iter().map(|post| &post.body))
    );
}

#[test]
fn a_report_that_cannot_be_sent_waits_and_holds_nothing_up() {
    let mut bench = Bench::new();
    bench.release(2);
    let privacy = Privacy {
        reports: true,
        ..Privacy::default()
    };
    privacy.save(&bench.device().state).unwrap();
    // Out of order, too many at once, too slow: none of them is an answer to the report.
    for status in [503, 429, 408] {
        bench
            .server
            .fault("/api/v1/reports", 1000, Kind::Status(status, None));
        if bench.journal().outbox.is_empty() {
            bench.update();
        } else {
            let _ = bench.pass();
        }
        assert_eq!(bench.journal().outbox.len(), 2, "{status}");
        bench.server.heal();
    }
    posts(&bench);
    bench.pass().unwrap();
    assert_eq!(posts(&bench).len(), 2);
    assert!(bench.journal().outbox.is_empty());
}

#[test]
fn a_report_that_is_refused_is_not_sent_again() {
    let mut bench = Bench::new();
    bench.release(2);
    Privacy {
        reports: true,
        ..Privacy::default()
    }
    .save(&bench.device().state)
    .unwrap();
    bench.server.fault("/api/v1/reports", 1, Kind::Status(422, None));
    bench.update();
    assert_eq!(posts(&bench).len(), 2);
    assert!(bench.journal().outbox.is_empty());
}
