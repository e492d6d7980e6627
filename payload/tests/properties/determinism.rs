//! The same images give the same bytes, whatever machine makes the payload.

use millet_payload::{Options, write_delta};

use crate::every_kind::archives;
use crate::support::*;

const MIB: u64 = 1 << 20;

#[test]
fn neither_threads_nor_memory_change_a_byte() {
    let old_system = image(8, 700);
    let new_system = week(&old_system, 9, 700);
    let [old_archives, new_archives] = archives();
    let old = images([("system", old_system), ("vendor", old_archives)]);
    let new = images([("system", new_system), ("vendor", new_archives)]);
    let make = |threads, memory| {
        let options = Options {
            memory,
            ..options(threads)
        };
        let mut payload = Vec::new();
        let summary = write_delta(&borrowed(&old), &borrowed(&new), &options, &(), &mut payload).unwrap();
        assert!(summary.operations.contains_key("PUFFDIFF"), "{summary:?}");
        payload
    };
    let expected = make(1, 2048 * MIB);
    for memory in [2048 * MIB, 256 * MIB] {
        for threads in [1, 2, 5] {
            assert!(
                make(threads, memory) == expected,
                "{threads} threads, {memory} bytes"
            );
        }
    }
    // With far less than the least that is asked for other windows are remembered, but which ones, and which archives
    // are patched, is not for threads to say.
    let expected = make(1, 4 * MIB);
    for threads in [2, 5] {
        assert!(make(threads, 4 * MIB) == expected, "{threads} threads");
    }
}
