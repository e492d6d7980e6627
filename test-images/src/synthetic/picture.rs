use super::random::Seed;

/// A PNG's shape around bytes that no coder makes smaller; a change makes all of them new, as drawing it anew does.
/// `size` is exact and at least 64. Layout: W3C PNG (Third Edition), section 5.
pub fn picture(seed: &Seed, size: usize, changes: &[u32]) -> Vec<u8> {
    const AROUND_THE_DATA: usize = 8 + 25 + 12 + 12;
    let mut stream = seed.stream(changes.last().copied().unwrap_or(0).into());
    let mut data = vec![0; size.saturating_sub(AROUND_THE_DATA)];
    stream.fill(&mut data);

    let mut picture = Vec::with_capacity(size);
    picture.extend_from_slice(b"\x89PNG\r\n\x1a\n");
    let side = 16 + stream.below(1024) as u32;
    let mut header = [side.to_be_bytes(), side.to_be_bytes()].concat();
    // 8 bits a channel, red, green, blue and alpha.
    header.extend_from_slice(&[8, 6, 0, 0, 0]);
    for (kind, content) in [(b"IHDR", header.as_slice()), (b"IDAT", &data), (b"IEND", &[])] {
        let start = picture.len() + 4;
        picture.extend_from_slice(&(content.len() as u32).to_be_bytes());
        picture.extend_from_slice(kind);
        picture.extend_from_slice(content);
        let crc = crc32fast::hash(&picture[start..]);
        picture.extend_from_slice(&crc.to_be_bytes());
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_size_and_a_change_leaves_nothing() {
        let seed = Seed::new(1);
        let (before, after) = (picture(&seed, 8192, &[]), picture(&seed, 8192, &[3]));
        assert_eq!((before.len(), after.len()), (8192, 8192));
        let same = before[100..]
            .iter()
            .zip(&after[100..])
            .filter(|(one, other)| one == other)
            .count();
        assert!(same < 100, "{same} bytes are the same");
        assert_eq!(&before[12..16], b"IHDR");
        assert_eq!(&before[8192 - 8..8192 - 4], b"IEND");
    }
}
