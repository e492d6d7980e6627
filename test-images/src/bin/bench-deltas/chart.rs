use std::fmt::Write;
use std::time::Duration;

use crate::methods::Method;
use crate::report::{Result, given_up};

const LEFT: u32 = 150;
const BAR: u32 = 18;
const WIDTH: u32 = 760;
/// Pixels of a ratio of 1.
const UNIT: f64 = 170.0;
/// Longer bars are cut here; their figure says how long they would be.
const LONGEST: f64 = 3.0;

/// Horizontal bars: bytes of each method's delta beside the reference's, pair by pair.
pub fn svg(results: &[Result], patience: Duration) -> String {
    let mut bars = String::new();
    let mut y = 40;
    for result in results {
        let Some(reference) = result.reference() else {
            continue;
        };
        y += 14;
        // Writing to a String does not fail.
        let _ = writeln!(
            bars,
            r#"<text x="12" y="{y}" font-weight="bold">{}</text>"#,
            result.pair.name
        );
        y += 8;
        for (method, measured) in &result.rows {
            let (length, figure) = match measured {
                Some(measured) => {
                    let ratio = measured.bytes as f64 / reference.bytes as f64;
                    (ratio.min(LONGEST) * UNIT, format!("{ratio:.2}"))
                }
                None => (0.0, given_up(patience)),
            };
            let colour = if *method == Method::Millet {
                "#d2691e"
            } else {
                "#9aa5b1"
            };
            let middle = y + 13;
            let _ = writeln!(
                bars,
                r#"<text x="{}" y="{middle}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y}" width="{length:.0}" height="{}" fill="{colour}"/><text x="{:.0}" y="{middle}">{figure}</text>"#,
                LEFT - 8,
                method.name(),
                BAR - 3,
                f64::from(LEFT) + length + 6.0,
            );
            y += BAR;
        }
        y += 10;
    }
    let line = f64::from(LEFT) + UNIT;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="{WIDTH}" height="{y}" fill="#fff"/>
<text x="12" y="24" font-size="15">Bytes of a delta; HDiffPatch with zstd is 1</text>
{bars}<line x1="{line:.0}" y1="40" x2="{line:.0}" y2="{y}" stroke="#222" stroke-dasharray="2 3"/>
</svg>
"##
    )
}
