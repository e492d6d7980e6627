//! An update that is interrupted goes on, whatever the operations are.

use crate::every_kind::{Sample, every_kind};
use crate::support::assert_resumes;

#[test]
fn an_update_with_every_type_of_operation_goes_on_from_every_checkpoint() {
    let Sample { old, new, payload } = every_kind();
    assert_resumes(&payload, &old, &new);
}
