use crate::error::FormError;

/// The top-level roles (specification, section 2.1).
pub(crate) const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// Longest name of a delegated role as a file name, in bytes: with version and `.json` it fits every file system.
const LONGEST: usize = 200;

/// The file name of a role's metadata, `<role>.json`, safe whatever the role is called.
pub fn file_name(role: &str) -> String {
    let mut name = file_stem(role);
    name.push_str(".json");
    name
}

/// A name as part of a file name: all but letters, digits and `. _ - ~` is percent-encoded (RFC 3986, section 2.1), as the
/// reference implementation does. What comes out may still be `.` or `..`, and too long for a file system.
pub fn file_stem(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"._-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex::encode_upper([byte]));
        }
    }
    out
}

/// The file name under which a consistent snapshot holds it, `<version>.<role>.json`.
pub(crate) fn versioned(version: u64, role: &str) -> String {
    format!("{version}.{}", file_name(role))
}

/// Refuses names of delegated roles that would pass for a top-level role or not fit into a file name.
pub(crate) fn check_delegated(role: &str) -> Result<(), FormError> {
    let long = file_stem(role).len() > LONGEST;
    if role.is_empty() || long || TOP_LEVEL.contains(&role) {
        return Err(FormError::RoleName(role.chars().take(80).collect()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_file() {
        assert_eq!(file_name("builds.rubik"), "builds.rubik.json");
        assert_eq!(versioned(3, "builds.rubik"), "3.builds.rubik.json");
        for hostile in ["../../etc/passwd", "/", "a\\b", "a\0b", "%2e", "..", "x?y#z"] {
            let name = file_name(hostile);
            assert!(!name.contains(['/', '\\', '\0', '?', '#']), "{name}");
            assert_ne!(name, "..");
        }
        assert_ne!(file_name("%2F"), file_name("/"));
    }

    #[test]
    fn a_delegation_cannot_pose_as_a_top_level_role() {
        for refused in ["root", "timestamp", "snapshot", "targets", "", &"/".repeat(67)] {
            assert!(check_delegated(refused).is_err(), "{refused}");
        }
        assert!(check_delegated("roots").is_ok());
    }
}
