use std::fmt::Write;

use millet_payload::{Extent, Head, Operation, Partition};
use millet_protocol::BLOCK_SIZE;

/// Cells of one row of the map.
const COLUMNS: u64 = 128;

/// A partition has at most this many rows: a cell stands for as many blocks as that takes.
const MOST_ROWS: u64 = 64;

/// Pixels of a cell's side.
const SIDE: u64 = 6;

const LEGEND: [(&str, &str); 5] = [
    ("zero", "#e6e8eb"),
    ("computed", "#b7a6d6"),
    ("copied", "#8fb8de"),
    ("patched", "#e8a33d"),
    ("sent", "#c0392b"),
];

/// The legend's number for a hash tree and FEC, which the device makes by itself.
const COMPUTED: usize = 1;

/// A map of each partition, block by block from left to right and top to bottom: the colour says how it is made.
pub fn svg(head: &Head) -> String {
    let mut body = String::new();
    let mut y = 30;
    for (index, (name, colour)) in LEGEND.iter().enumerate() {
        let x = 12 + index * 110;
        // Writing to a String does not fail.
        let _ = writeln!(
            body,
            r#"<rect x="{x}" y="10" width="12" height="12" fill="{colour}"/><text x="{}" y="20">{name}</text>"#,
            x + 18
        );
    }
    for partition in head.partitions() {
        let blocks = partition.new.size / BLOCK_SIZE;
        let per_cell = blocks.div_ceil(COLUMNS * MOST_ROWS).max(1);
        let cells = cells(partition, blocks, per_cell);
        y += 24;
        let _ = writeln!(
            body,
            r#"<text x="12" y="{}">{}: {} blocks of 4 KiB, {per_cell} in each cell</text>"#,
            y - 6,
            partition.name,
            blocks
        );
        y += runs(&cells, y, &mut body) + 10;
    }
    let width = COLUMNS * SIDE + 24;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" font-size="12" fill="#222"><rect width="{width}" height="{y}" fill="#fff"/>
{body}</svg>
"##
    )
}

/// The kind of each cell: the costliest operation that makes a block of it, so that no sent block hides.
fn cells(partition: &Partition, blocks: u64, per_cell: u64) -> Vec<usize> {
    let count = usize::try_from(blocks.div_ceil(per_cell)).unwrap_or(0);
    let mut cells = vec![0; count];
    let mut mark = |extent: &Extent, kind: usize| {
        let first = usize::try_from(extent.start / per_cell).unwrap_or(usize::MAX);
        let last = usize::try_from((extent.end() - 1) / per_cell).unwrap_or(usize::MAX);
        for cell in cells.iter_mut().skip(first).take(last.saturating_sub(first) + 1) {
            *cell = kind.max(*cell);
        }
    };
    for operation in &partition.operations {
        let kind = kind(operation);
        for extent in &operation.destination {
            mark(extent, kind);
        }
    }
    for extent in partition.verity.extents() {
        mark(&extent, COMPUTED);
    }
    cells
}

/// The legend's number for an operation.
fn kind(operation: &Operation) -> usize {
    use millet_payload::Action;
    match operation.action {
        Action::Zero => 0,
        Action::Copy { .. } => 2,
        Action::Patch { .. } => 3,
        Action::Replace { .. } => 4,
    }
}

/// Draws cells of one kind that lie side by side as one rectangle. Returns the height.
fn runs(cells: &[usize], top: u64, body: &mut String) -> u64 {
    let columns = usize::try_from(COLUMNS).unwrap_or(1);
    let mut y = top;
    for row in cells.chunks(columns) {
        let mut x = 12;
        for run in row.chunk_by(|one, other| one == other) {
            let width = run.len() as u64 * SIDE;
            let colour = run
                .first()
                .and_then(|kind| LEGEND.get(*kind))
                .map_or("#fff", |(_, colour)| colour);
            let _ = writeln!(
                body,
                r#"<rect x="{x}" y="{y}" width="{width}" height="{SIDE}" fill="{colour}"/>"#
            );
            x += width;
        }
        y += SIDE;
    }
    y - top
}
