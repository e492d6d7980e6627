use std::path::{Path, PathBuf};

use anyhow::Result;
use millet_test_images::fleet::{Programs, run};

use crate::{Arguments, Kind};

/// The images of the story, each a folder of `<partition>.img`.
pub struct Images {
    /// What the device left the factory with; the repository has never heard of it.
    pub factory: PathBuf,
    /// The first weekly build.
    pub first: PathBuf,
    /// The second, which travels as a delta.
    pub second: PathBuf,
    /// The third, whose health check fails.
    pub broken: PathBuf,
}

/// Makes the images, or takes the debian pair that is there already.
pub fn prepare(programs: &Programs, arguments: &Arguments, dir: &Path) -> Result<Images> {
    let (first, second, third) = match arguments.images {
        Kind::Synthetic => {
            let size = arguments.size.to_string();
            for week in ["1", "2", "3"] {
                let out = dir.join(format!("week{week}"));
                let mut command = programs.test_images();
                command
                    .args([
                        "synthetic",
                        "--seed",
                        "2026",
                        "--week",
                        week,
                        "--size",
                        &size,
                        "--out",
                    ])
                    .arg(out);
                run(&mut command, true)?.success("millet-test-images synthetic")?;
            }
            (dir.join("week1"), dir.join("week2"), dir.join("week3"))
        }
        Kind::Debian => {
            let pair = &arguments.pair;
            if !pair.join("newer/system.img").is_file() {
                let mut command = programs.test_images();
                command.arg("debian").arg("--out").arg(pair);
                run(&mut command, true)?.success("millet-test-images debian")?;
            }
            let pair = pair.canonicalize()?;
            (pair.join("older"), pair.join("newer"), pair.join("newer"))
        }
    };
    let images = Images {
        factory: dir.join("factory"),
        first,
        second,
        broken: dir.join("broken"),
    };
    // A factory image is one whose bytes no manifest names: the first week's with another line in build.prop.
    for (from, to) in [(&images.first, &images.factory), (&third, &images.broken)] {
        let mut command = programs.test_images();
        command.arg("break").arg(from).arg("--out").arg(to);
        run(&mut command, false)?.success("millet-test-images break")?;
    }
    Ok(images)
}
