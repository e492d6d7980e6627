//! Protobuf's wire format ("Encoding"), as far as a message's fields can be told apart without knowing the message.

/// Why bytes are not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the field that begins at byte {0} is malformed or cut off")]
pub struct FieldError(pub(crate) usize);

/// One field of a message.
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    /// All of it, its key included.
    pub(crate) bytes: &'a [u8],
    /// What it holds, if it is a string or a message.
    pub(crate) content: Option<&'a [u8]>,
}

/// Wire types. Groups are not among them: AOSP's messages have none.
pub(crate) const VARINT: u64 = 0;
const FIXED64: u64 = 1;
pub(crate) const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// The fields of a message, in their order; ends with the first that is broken. Nothing is allocated.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, FieldError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = message.get(at..).filter(|rest| !rest.is_empty())?;
        let Some(field) = first(rest) else {
            let broken = FieldError(at);
            at = message.len();
            return Some(Err(broken));
        };
        at += field.bytes.len();
        Some(Ok(field))
    })
}

/// The messages that the fields of one number hold, in their order.
pub(crate) fn messages(message: &[u8], number: u64) -> impl Iterator<Item = Result<&[u8], FieldError>> {
    fields(message).filter_map(move |field| match field {
        Ok(field) if field.number == number => field.content.map(Ok),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// A message without those that the fields of some numbers hold: what is left decodes at the cost of its own length.
pub(crate) fn without(message: &[u8], numbers: &[u64]) -> Result<Vec<u8>, FieldError> {
    let mut rest = Vec::new();
    for field in fields(message) {
        let field = field?;
        // One that should hold a message and does not is for the decoder to refuse.
        if field.content.is_none() || !numbers.contains(&field.number) {
            rest.extend_from_slice(field.bytes);
        }
    }
    Ok(rest)
}

fn first(bytes: &[u8]) -> Option<Field<'_>> {
    let (key, key_length) = varint(bytes)?;
    let rest = bytes.get(key_length..)?;
    let (prefix, length) = match key & 7 {
        VARINT => (varint(rest)?.1, 0),
        FIXED64 => (8, 0),
        LENGTH => {
            let (length, prefix) = varint(rest)?;
            (prefix, usize::try_from(length).ok()?)
        }
        FIXED32 => (4, 0),
        _ => return None,
    };
    let start = key_length.checked_add(prefix)?;
    let end = start.checked_add(length)?;
    let field = bytes.get(..end)?;
    Some(Field {
        number: key >> 3,
        bytes: field,
        content: field.get(start..).filter(|_| key & 7 == LENGTH),
    })
}

/// The number that bytes begin with, and how many it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte holds bit 63 alone; more would be lost, which no encoder writes.
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart() {
        // 1: varint 300, 20: fixed32, 2: "ab", 19: fixed64, 2: ""
        let message = b"\x08\xac\x02\xa5\x01wxyz\x12\x02ab\x99\x0112345678\x12\x00";
        let found: Vec<_> = fields(message).map(|field| field.unwrap()).collect();
        let numbers: Vec<_> = found.iter().map(|field| (field.number, field.content)).collect();
        assert_eq!(
            numbers,
            [
                (1, None),
                (20, None),
                (2, Some(&b"ab"[..])),
                (19, None),
                (2, Some(b""))
            ]
        );
        let whole: Vec<_> = found.iter().flat_map(|field| field.bytes).copied().collect();
        assert_eq!(whole, message);
        assert_eq!(
            messages(message, 2).map(Result::unwrap).collect::<Vec<_>>(),
            [&b"ab"[..], b""]
        );
        assert_eq!(
            without(message, &[2, 19]).unwrap(),
            b"\x08\xac\x02\xa5\x01wxyz\x99\x0112345678"
        );
    }

    #[test]
    fn cut_and_foreign_bytes_are_refused_once() {
        for broken in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x12\x03ab",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0b\x0c",
            b"\x09123",
            b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        ] {
            let behind = [b"\x08\x01", broken].concat();
            let found: Vec<_> = fields(&behind).map(|field| field.err()).collect();
            assert_eq!(found, [None, Some(FieldError(2))], "{broken:?}");
            assert_eq!(without(&behind, &[]), Err(FieldError(2)));
        }
    }
}
