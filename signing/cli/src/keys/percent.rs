use zeroize::Zeroizing;

/// Percent-decoding (RFC 3986, section 2.1), of what may be a secret; `None` for a broken escape.
pub fn decoded(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // It never grows, so no copy stays behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        out.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    Some(out)
}

fn digit(byte: &u8) -> Option<u8> {
    char::from(*byte)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(*decoded(b"50%25%0Ax+y%fF").unwrap(), b"50%\nx+y\xff");
        for broken in [b"%".as_slice(), b"%2", b"%zz", b"x%1g"] {
            assert!(decoded(broken).is_none());
        }
    }
}
