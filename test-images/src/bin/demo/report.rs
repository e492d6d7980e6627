use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use indicatif::HumanBytes;
use millet_test_images::fleet::measure::Cost;
use millet_test_images::output;

use crate::story::Outcome;

/// Prints what the story measured and what it checked.
pub fn print(outcome: &Outcome) -> anyhow::Result<()> {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_header(["what", "bytes", "of full", "seconds", "peak memory"]);
    let bytes = |bytes: u64| HumanBytes(bytes).to_string();
    let share = |bytes: u64| format!("{:.1} %", bytes as f64 / outcome.full_bytes as f64 * 100.0);
    let cost = |cost: &Cost| [format!("{:.1}", cost.wall.as_secs_f64()), bytes(cost.peak_rss)];
    let [full_seconds, full_memory] = cost(&outcome.full_install);
    let [delta_seconds, delta_memory] = cost(&outcome.delta_install);
    let seconds = |duration: std::time::Duration| format!("{:.1}", duration.as_secs_f64());
    let none = String::new;
    table.add_row([
        "images of one build".to_owned(),
        bytes(outcome.image_bytes),
        none(),
        none(),
        none(),
    ]);
    table.add_row([
        "full payload, published".to_owned(),
        bytes(outcome.full_bytes),
        share(outcome.full_bytes),
        seconds(outcome.publish),
        none(),
    ]);
    table.add_row([
        "delta payload, made by the server".to_owned(),
        bytes(outcome.delta_bytes),
        share(outcome.delta_bytes),
        seconds(outcome.delta_made),
        none(),
    ]);
    table.add_row([
        "full install".to_owned(),
        bytes(outcome.full_bytes),
        share(outcome.full_bytes),
        full_seconds,
        full_memory,
    ]);
    table.add_row([
        "delta install".to_owned(),
        bytes(outcome.delta_bytes),
        share(outcome.delta_bytes),
        delta_seconds,
        delta_memory,
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    output::print(format_args!("\n{table}\n"))?;
    for sentence in &outcome.checked {
        output::print(format_args!("✓ {sentence}"))?;
    }
    Ok(())
}
