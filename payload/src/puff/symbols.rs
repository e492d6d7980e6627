//! How lengths and distances are spelled as symbols and extra bits (RFC 1951, section 3.2.5).
//!
//! The tables there follow a rule: a symbol's number holds the position of the value's highest bit and the bits after
//! it, the extra bits hold the rest.

/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;

/// The first symbol that is a length.
pub(super) const FIRST_LENGTH: usize = 257;

/// The longest match has a symbol of its own, without extra bits.
const LONGEST_MATCH: u32 = 258;
const LONGEST_MATCH_SYMBOL: u32 = 28;

/// A value's symbol, counted from the first of its kind; the number of its extra bits, and they.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spelling {
    pub(super) symbol: u32,
    pub(super) extra_bits: u32,
    pub(super) extra: u32,
}

/// Spells a length from 3 to 258.
pub(super) fn spell_length(length: u32) -> Spelling {
    if length == LONGEST_MATCH {
        return Spelling {
            symbol: LONGEST_MATCH_SYMBOL,
            extra_bits: 0,
            extra: 0,
        };
    }
    spell(length.saturating_sub(3), 2)
}

/// Spells a distance from 1 to 32768.
pub(super) fn spell_distance(distance: u32) -> Spelling {
    spell(distance.saturating_sub(1), 1)
}

/// Extra bits of a length symbol from 0 to 28, and the length when they are zero; `None` for another symbol.
pub(super) fn length_of(symbol: u32) -> Option<(u32, u32)> {
    match symbol {
        LONGEST_MATCH_SYMBOL => Some((0, LONGEST_MATCH)),
        0..LONGEST_MATCH_SYMBOL => {
            let (extra_bits, value) = base_of(symbol, 2);
            Some((extra_bits, value + 3))
        }
        _ => None,
    }
}

/// Extra bits of a distance symbol from 0 to 29, and the distance when they are zero; `None` for another symbol.
pub(super) fn distance_of(symbol: u32) -> Option<(u32, u32)> {
    (symbol < 30).then(|| {
        let (extra_bits, value) = base_of(symbol, 1);
        (extra_bits, value + 1)
    })
}

/// `precision` is how many bits after the highest one are part of the symbol.
fn spell(value: u32, precision: u32) -> Spelling {
    if value >> (precision + 1) == 0 {
        return Spelling {
            symbol: value,
            extra_bits: 0,
            extra: 0,
        };
    }
    let extra_bits = value.ilog2() - precision;
    Spelling {
        symbol: (extra_bits << precision) + (value >> extra_bits),
        extra_bits,
        extra: value & ((1 << extra_bits) - 1),
    }
}

fn base_of(symbol: u32, precision: u32) -> (u32, u32) {
    let step = symbol >> precision;
    if step < 2 {
        return (0, symbol);
    }
    let extra_bits = step - 1;
    (extra_bits, (symbol - (extra_bits << precision)) << extra_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951, section 3.2.5: extra bits and first value of some symbols.
    #[test]
    fn the_rule_gives_the_specification_s_tables() {
        for (symbol, extra_bits, first) in [
            (257, 0, 3),
            (264, 0, 10),
            (265, 1, 11),
            (268, 1, 17),
            (269, 2, 19),
            (273, 3, 35),
            (277, 4, 67),
            (281, 5, 131),
            (284, 5, 227),
            (285, 0, 258),
        ] {
            assert_eq!(length_of(symbol - 257), Some((extra_bits, first)), "{symbol}");
        }
        for (symbol, extra_bits, first) in [
            (0, 0, 1),
            (3, 0, 4),
            (4, 1, 5),
            (5, 1, 7),
            (6, 2, 9),
            (15, 6, 193),
            (20, 9, 1025),
            (28, 13, 16385),
            (29, 13, 24577),
        ] {
            assert_eq!(distance_of(symbol), Some((extra_bits, first)), "{symbol}");
        }
        assert_eq!(length_of(29), None);
        assert_eq!(distance_of(30), None);
    }

    #[test]
    fn every_value_is_spelled_and_read() {
        for length in 3..=258 {
            let spelled = spell_length(length);
            let (extra_bits, first) = length_of(spelled.symbol).unwrap();
            assert_eq!((extra_bits, first + spelled.extra), (spelled.extra_bits, length));
        }
        for distance in 1..=32768 {
            let spelled = spell_distance(distance);
            let (extra_bits, first) = distance_of(spelled.symbol).unwrap();
            assert_eq!(
                (extra_bits, first + spelled.extra),
                (spelled.extra_bits, distance)
            );
        }
    }
}
