use std::path::{Path, PathBuf};

/// What `--only` may name.
pub const NAMES: [&str; 4] = ["ext4", "erofs", "kernel", "apps"];

/// One image in two versions, on which every method is measured.
#[derive(Debug, Clone)]
pub struct Pair {
    /// How the table calls it.
    pub name: &'static str,
    /// What it is, for the table's legend.
    pub is: &'static str,
    /// The subcommand of `millet-test-images` that makes it.
    pub made_by: &'static str,
    /// Its partition.
    pub partition: &'static str,
    /// Holds `older` and `newer`.
    pub folder: PathBuf,
}

impl Pair {
    /// The image that devices have.
    pub fn older(&self) -> PathBuf {
        self.image("older")
    }

    /// The image that they should get.
    pub fn newer(&self) -> PathBuf {
        self.image("newer")
    }

    fn image(&self, age: &str) -> PathBuf {
        self.folder.join(age).join(format!("{}.img", self.partition))
    }
}

/// Every pair, in the order of the table.
pub fn all(debian: &Path, wheels: &Path) -> Vec<Pair> {
    let pair = |name, partition, made_by, folder: &Path, is| Pair {
        name,
        is,
        made_by,
        partition,
        folder: folder.to_owned(),
    };
    vec![
        pair(
            "ext4",
            "system",
            "debian",
            debian,
            "arm64 Debian packages in ext4, a large week of updates",
        ),
        pair(
            "erofs",
            "vendor",
            "debian",
            debian,
            "kernel modules and firmware in erofs with lz4hc",
        ),
        pair("kernel", "boot", "debian", debian, "a raw arm64 kernel"),
        pair(
            "apps",
            "app",
            "wheels",
            wheels,
            "12 archives of native code and resources, deflated, in ext4",
        ),
    ]
}
